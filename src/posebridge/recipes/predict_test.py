"""Test frames that stay on disk: predicted by every model in one pass, scored in the pixels of their crops, shown."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import GalleryFrame, Role
from posebridge.data.crops import LabelledCrops
from posebridge.data.dataset_stream import ordered_batches
from posebridge.data.skipped_list import SkippedList
from posebridge.data.subset import Subset
from posebridge.deployment.predictor import Predictor, join
from posebridge.evaluation.evaluate import frame_errors_px, select_example_frames
from posebridge.recipes.pipeline import truth_of
from posebridge.recipes.records import gallery
from posebridge.skeletons.skeleton import Skeleton

_BATCH = 64


@dataclass(frozen=True)
class Predicted:
    """The test frames that could be read, without their images, and what each model says of them."""

    frames: LabelledBatch  # ``image`` is None
    positions: np.ndarray  # (N,) of the frames among the crops of the test split
    by_role: Mapping[Role, KeypointSet]  # in pixels of the files
    skeleton: Skeleton

    def in_crops(self, keypoints: KeypointSet) -> KeypointSet:
        """Keypoints of these frames, in pixels of their crops: what fractions of the image's side are about."""
        assert self.frames.T_crop_file is not None
        assert keypoints.uv_px is not None
        T = self.frames.T_crop_file.double().numpy()
        uv_px = np.einsum("nij,nkj->nki", T[:, :2, :2], keypoints.uv_px) + T[:, None, :2, 2]
        return replace(keypoints, uv_px=uv_px)

    def truth(self, scored: tuple[str, ...] | None = None) -> KeypointSet:
        """The labels, in pixels of the crops; joints that are not ``scored`` are missing in the image."""
        truth = self.in_crops(truth_of(self.frames, self.skeleton.joints))
        if scored is None or truth.uv_px is None:
            return truth
        counts = np.isin(self.skeleton.joints, scored)
        return replace(truth, uv_px=np.where(counts[:, None], truth.uv_px, np.nan))


def predict_test_split(
    predictors: Mapping[Role, Predictor],
    crops: LabelledCrops,
    skeleton: Skeleton,
    skipped: SkippedList,
    workers: int = 0,
) -> Predicted:
    """Read every frame once and show it to each model. Raises ``InputError`` where none can be read."""
    frames: list[LabelledBatch] = []
    positions: list[int] = []
    parts: dict[Role, list[KeypointSet]] = {role: [] for role in predictors}
    with tqdm(total=len(crops), desc="predict", unit="frame", mininterval=2.0, dynamic_ncols=True) as bar:
        for read, batch in ordered_batches(crops, _BATCH, skipped, workers):
            for role, predictor in predictors.items():
                parts[role].append(predictor.predict_batch(batch.unlabelled()))
            frames.append(replace(batch, image=None))
            positions += read
            bar.update(len(batch))
    by_role: dict[Role, KeypointSet] = {role: join(sets) for role, sets in parts.items()}
    return Predicted(concatenate(frames), np.array(positions), by_role, skeleton)


def gallery_of_test_split(
    predicted: Predicted, role: Role, crops: LabelledCrops, skipped: SkippedList
) -> tuple[GalleryFrame, ...]:
    """The best, median and worst frames of a model, which are read again."""
    prediction, truth = predicted.in_crops(predicted.by_role[role]), predicted.truth()
    keys = [key for key, _ in select_example_frames(frame_errors_px(prediction, truth))]
    rows = np.flatnonzero(np.isin(prediction.key, keys))
    shown = LabelledCrops(Subset(crops.frames, predicted.positions[rows]), crops.config)
    batch = concatenate([crop for _, crop in ordered_batches(shown, _BATCH, skipped)])
    every = np.arange(len(predicted.skeleton))
    # The keypoints are in pixels of the crops already.
    return gallery(replace(batch, T_crop_file=None), prediction.take(rows, every), truth.take(rows, every))
