"""Multi-view fusion on any target: a source that is rendered, stages that are trained, hands that are found."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from posebridge.bodies.parametric_hand import load_parametric_hand
from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record, Role, Score
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.multiview_stream import moments_of
from posebridge.deployment.depth_predictor import DepthHandPredictor, DepthHands, keypoints_of
from posebridge.deployment.model_file import save_model
from posebridge.deployment.model_spec import DepthHandSpec, HandName
from posebridge.errors import InputError
from posebridge.evaluation.evaluate import evaluate
from posebridge.evaluation.protocols import DEPTH_JOINT_ERROR
from posebridge.methods.multi_view_fusion.depth_views import DepthContext
from posebridge.methods.multi_view_fusion.evidence import fusion_section
from posebridge.methods.multi_view_fusion.method import MultiViewFusion
from posebridge.methods.multi_view_fusion.supervised_stages import DepthStage
from posebridge.methods.multi_view_fusion.translation import Translation
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.recipes.adapt_truth import crop_side, in_crops, joint_order
from posebridge.recipes.depth_fusion import DepthFusionSize, load_hands
from posebridge.recipes.pipeline import History, parts, prediction_device, rendering_progress
from posebridge.recipes.records import RunMetadata, gallery, make_record
from posebridge.skeletons.hand import HAND21
from posebridge.training.options import Hardware
from posebridge.training.run import Run, StageReport

METHOD = "multi-view-fusion"
_VIEWS = 3  # of a set, drawn from those that a moment has; of one camera, copies of its picture
_MOST_DRAWS = 150  # of one moment in fine-tuning


class DepthAdaptation:
    """The stages of a run, one after the other. The source is rendered when it is first needed."""

    def __init__(
        self,
        run: Run,
        size: DepthFusionSize,
        domain: str,
        seed: int,
        hardware: Hardware,
        trained: DepthHandModel | None = None,
        mano: Path | None = None,
    ):
        """With a model that is ``trained``, the source only keeps it in place, and there is less of it.

        ``mano`` is the file of the hand that is rendered and found; without it, it is Anny's.
        """
        self.mano = mano
        self.run, self.size, self.domain, self.seed, self.hardware = run, size, domain, seed, hardware
        self.method = MultiViewFusion(size.method)
        self._trained = trained
        self._sets = size.source_sets if trained is None else size.target_sets
        self._reports: list[StageReport] = []
        self._folders: list[Path] = []

    @cached_property
    def _context(self) -> DepthContext:
        with rendering_progress(self._sets * self.size.views) as on_progress:
            source = load_hands(self.size, self.domain, self._sets, self.seed, on_progress, self.mano)

        def new_model() -> DepthHandModel:
            torch.manual_seed(self.seed)
            return DepthHandModel(self.size.network, self.size.fusion, HAND21)

        return DepthContext(
            new_model=new_model,
            hand=load_parametric_hand(self.mano, self.size.network.shape_size),
            cube_m=self.size.cube_m,
            source=source,
            target=None,
            seed=self.seed,
            workers=self.hardware.workers,
        )

    def pretrained(self, target: InMemoryDataset[UnlabelledBatch]) -> DepthHandModel:
        """The model after the stages that learn from labels, or the one that was given.

        Of the target they are shown the look at most, where the source is translated to it.
        """
        translation = self.method.translation(replace(self._context, target=target))
        if translation is not None:
            self._train(translation)
            self._context = self.method.looking_alike(self._context, translation)
        if self._trained is None:
            for stage in self.method.pretraining(self._context):
                self._train(stage)
                self._trained = stage.result()
        assert self._trained is not None
        return self._trained.eval()

    def adapted(self, target: InMemoryDataset[UnlabelledBatch]) -> DepthHandModel:
        """The model after fine-tuning; the one that was pretrained is changed. Raises ``ValueError`` without one."""
        if self._trained is None:
            raise ValueError("there is no model to adapt: call pretrained first")
        stage = self.method.fine_tuning(replace(self._context, target=target), self._trained)
        self._train(stage)
        return stage.result().eval()

    def _train(self, stage: DepthStage | Translation) -> None:
        number = len(self._reports) + 1
        self._reports.append(self.run.train(number, stage))
        self._folders.append(self.run.stage_folder(number, stage.name))

    def history(self) -> History:
        """Notes of the stages so far."""
        return History(tuple(self._reports), tuple(self._folders))

    def predictor(self, model: DepthHandModel) -> DepthHandPredictor:
        """A model of this run with all that is needed to read it."""
        size = self.size
        hand: HandName = "anny" if self.mano is None else "mano"
        spec = DepthHandSpec(size.network, size.fusion, HAND21.name, size.size_px, size.cube_m, METHOD, hand)
        return DepthHandPredictor(spec, model.to(prediction_device(self.hardware)), self.mano)


@dataclass(frozen=True)
class FoundHands:
    """Hands of the same frames by the source's model and by the adapted one, which is the predictor's."""

    predictor: DepthHandPredictor
    whole: UnlabelledBatch
    hands: Mapping[Role, DepthHands]

    @cached_property
    def keypoints(self) -> Mapping[Role, KeypointSet]:
        """Joints of the meshes."""
        return {role: keypoints_of(self.predictor, self.whole, hands) for role, hands in self.hands.items()}

    def save(self, folder: Path) -> None:
        """The adapted model, and what it says of the frames."""
        save_model(folder, self.predictor.spec, self.predictor.model)
        self.keypoints["adapted"].save(folder / "predictions.npz")

    def record(
        self, story: RunMetadata, history: History, scores: Mapping[Role, Score], truth: KeypointSet | None
    ) -> Record:
        """The record of the run; ``truth`` is drawn."""
        frames = gallery(self.whole, self.keypoints["adapted"], truth, self.predictor.spec.cube_m)
        section = fusion_section(self.predictor, self.whole, self.hands)
        return make_record(story, {"adapted": history}, scores, frames, (section,))


def adapt_hands(
    adaptation: DepthAdaptation,
    pretrained: DepthHandPredictor,
    target: InMemoryDataset[UnlabelledBatch],
    whole: UnlabelledBatch,
) -> FoundHands:
    """Adapt to ``target`` and find the hands of ``whole``, before and after."""
    before = hands_of(pretrained, whole)
    predictor = adaptation.predictor(adaptation.adapted(target))
    return FoundHands(predictor, whole, {"source_only": before, "adapted": hands_of(predictor, whole)})


def for_target(size: DepthFusionSize, frames: Observation) -> DepthFusionSize:
    """Fine-tuning by as many views as a moment has, but three at most; by copies of its picture, where it has one.

    With few moments it is shorter: networks that teach themselves on the same ones for too long drift away from them.
    Moments that fewer cameras saw have no part in it.
    """
    cameras = [1] * len(frames) if frames.T_world_cam is None else [len(own) for own in moments_of(frames)]
    views = min(_VIEWS, max(cameras))
    size = size.from_one_camera() if views == 1 else size
    usual, moments = size.method.fine_tuning, sum(count >= views for count in cameras)
    steps = min(usual.schedule.steps, -(-_MOST_DRAWS * moments // usual.sets))
    schedule = replace(usual.schedule, steps=steps)
    tuning = replace(usual, schedule=schedule, views=_VIEWS if views == 1 else views)
    return replace(size, method=replace(size.method, fine_tuning=tuning))


def note_on_views(size: DepthFusionSize) -> str:
    """How views were come by, in a sentence."""
    tuning = size.method.fine_tuning
    if tuning.single_view:
        return "each moment was seen by one camera: turned, scaled and shifted copies of its picture stood in for views"
    return f"moments were seen by calibrated cameras: {tuning.views} views of each explain one another"


def hands_of(predictor: DepthHandPredictor, whole: UnlabelledBatch) -> DepthHands:
    """Of all frames, each by itself: what a user's single camera will give."""
    found = [predictor(part.to(predictor.device), fused=False) for part in parts(whole)]
    return DepthHands(*(torch.cat([vars(hands)[name] for hands in found]).cpu() for name in vars(found[0])))


def score_hands(found: KeypointSet, truth: KeypointSet, whole: UnlabelledBatch) -> Score:
    """By the protocol of depth, nothing aligned; in the image, by crops that are brought to the median one's side."""
    side_px = crop_side(whole)
    return evaluate(in_crops(found, whole, side_px), in_crops(truth, whole, side_px), side_px, DEPTH_JOINT_ERROR)


def load_truth(path: Path, frames: Observation) -> KeypointSet:
    """Labels of the frames, with places in the image, which some labels of depth hold beside their depth.

    Raises ``InputError`` for a file by which nothing of these frames can be measured.
    """
    truth = KeypointSet.load(path)
    if truth.uv_px is None and truth.uvd is not None:
        truth = replace(truth, uv_px=truth.uvd[..., :2])
    if truth.uv_px is None:
        raise InputError(f"{path}: the truth has no uv_px and no uvd: give one of them beside xyz_mm")
    joint_order(truth, frames.key, HAND21)
    return truth
