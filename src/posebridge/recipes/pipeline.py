"""The steps that every recipe shares: train a method's stages, choose a checkpoint, predict."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from posebridge.contracts.batch import LabelledBatch, Observation, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.in_memory import InMemoryDataset
from posebridge.deployment.predictor import Predictor, file_pixels, predict_all
from posebridge.networks.pose_network import PoseNetwork
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig
from posebridge.rendering.photometry import WEAK, AppearanceConfig
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.options import Hardware
from posebridge.training.pseudo_label_metrics import PseudoLabelMetrics
from posebridge.training.run import Run, SelectionPlan, StageReport
from posebridge.training.selection import BoneStatistics, agreement
from posebridge.training.stage import PoseStage, Stage

SELECTION_FRAMES = 256  # unlabelled target frames by which checkpoints are compared
_PART = 64
_SOURCE_STATISTICS = 2048


@dataclass(frozen=True)
class History:
    """What the stages of a method tell."""

    reports: tuple[StageReport, ...]
    folders: tuple[Path, ...]


@dataclass(frozen=True)
class Trained(History):
    """What the stages of a method left."""

    network: PoseNetwork
    stages: tuple[Stage, ...] = ()


def train(
    run: Run, first: int, stages: Iterable[tuple[Stage, SelectionPlan | None]], network: PoseNetwork | None = None
) -> Trained:
    """Train stages in order, numbered from ``first``; without any, the network that was given is what they left."""
    reports, folders, trained = [], [], []
    for number, (stage, selection) in enumerate(stages, first):
        reports.append(run.train(number, stage, selection))
        folders.append(run.stage_folder(number, stage.name))
        trained.append(stage)
        if isinstance(stage, PoseStage):
            network = stage.result()
    if network is None:
        raise ValueError("no stage trained a pose network, and none was given")
    return Trained(tuple(reports), tuple(folders), network.eval(), tuple(trained))


def label_free_selection(
    skeleton: Skeleton,
    bones: BoneStatistics,
    target: UnlabelledBatch,
    truth: LabelledBatch | None,
    evaluations: int = 8,
    appearance: AppearanceConfig = WEAK,
) -> SelectionPlan:
    """Choose by agreement and plausibility on a fixed part of the target, shown under changing ``appearance``.

    ``truth`` holds the same frames with labels, where there are any: it adds the precision of pseudo-labels and the
    oracle's number to the record, and has no way into the choice.
    """
    step = max(1, len(target) // SELECTION_FRAMES)
    shown = torch.arange(0, len(target), step)[:SELECTION_FRAMES]
    frames = target.take(shown)
    measured = None if truth is None else truth.take(shown)

    def score(network: PoseNetwork) -> float:
        return agreement(network, frames.to(_device(network)), skeleton, bones, appearance)

    return SelectionPlan(score, PseudoLabelMetrics(frames, measured), evaluations)


def joints_of_source(source: InMemoryDataset[LabelledBatch]) -> Float[Tensor, "N J 3"]:
    """Joints in space, in metres, of the first source samples: from these lengths of bones are taken."""
    joints_m = source.without_images()[:_SOURCE_STATISTICS].joints_m
    assert joints_m is not None
    return joints_m


def network_maker(config: PoseResNetConfig, maps: PoseMaps, seed: int) -> Callable[[], PoseResNet]:
    """Makes the same new network whenever it is called."""

    def new_network() -> PoseResNet:
        torch.manual_seed(seed)
        return PoseResNet(config, maps)

    return new_network


def prediction_device(hardware: Hardware) -> torch.device:
    """Where to predict after a training on this hardware, which leaves its networks on the CPU."""
    return torch.device("cuda" if hardware.accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def _device(network: torch.nn.Module) -> torch.device:
    return next(network.parameters()).device


def parts(batch: Observation, size: int = _PART) -> Iterator[Observation]:
    """A batch cut into smaller ones."""
    for start in range(0, len(batch), size):
        yield batch[start : start + size]


def predict(predictor: Predictor, batch: Observation) -> KeypointSet:
    """Predictions for a batch in memory, in pixels of its files (of itself, if it was rendered)."""
    return predict_all(predictor, parts(batch))


def truth_of(batch: LabelledBatch, joint_names: tuple[str, ...]) -> KeypointSet:
    """The labels of a batch, in pixels of its files."""
    assert batch.uv_px is not None
    assert batch.valid is not None
    return KeypointSet(
        key=np.array(batch.key),
        joint_names=joint_names,
        uv_px=file_pixels(batch.uv_px, batch.T_crop_file).numpy(),
        xyz_mm=None if batch.joints_m is None else 1000 * batch.joints_m.numpy(),
        valid=batch.valid.numpy(),
    )


@contextmanager
def rendering_progress(total: int) -> Iterator[Callable[[int], None]]:
    """A line that says how far rendering is."""
    with tqdm(total=total, desc="0 rendering", unit="image", mininterval=2.0, dynamic_ncols=True) as bar:

        def on_progress(count: int) -> None:
            bar.update(count)

        yield on_progress
