"""From rendered hands to a user's own depth frames, without a label of theirs: multi-view fusion, whole."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Literal

import torch

from posebridge.bodies.parametric_hand import AnnyHand
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import DepthFit, DepthHandPicture, Record, Role, Score
from posebridge.contracts.record_file import save_record
from posebridge.data.crops import CubeCropConfig
from posebridge.data.depth_target import DepthCrops, DepthTargetConfig, blob_of, open_depth
from posebridge.data.frames import IndexedFrames, UnreadableFrameError
from posebridge.data.held import Held
from posebridge.data.sets import SetStream, sets_of
from posebridge.deployment.depth_overlay import hand_panels
from posebridge.deployment.depth_predictor import DepthHandPredictor, DepthHands, MeshSet, keypoints_of
from posebridge.deployment.hand_tracking import HandTracker
from posebridge.deployment.mesh_files import save_meshes
from posebridge.deployment.model_file import DepthHandSpec, load_depth_hand, save_depth_hand
from posebridge.deployment.predict_files import list_skipped
from posebridge.errors import InputError
from posebridge.evaluation.evaluate import evaluate
from posebridge.evaluation.protocols import DEPTH
from posebridge.methods.multi_view_fusion import MultiViewFusion
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.recipes.adapt_truth import crop_side, in_crops
from posebridge.recipes.depth_fusion import SIZES, DepthFusionSize, hold_hands
from posebridge.recipes.pipeline import History, parts, rendering_progress
from posebridge.recipes.records import Story, gallery, make_record
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.depth_scene import DEPTH_DOMAINS
from posebridge.training.depth_views import DepthContext
from posebridge.training.options import Hardware
from posebridge.training.run import Run, StageReport, check_space

METHOD = "multi-view-fusion"
_SPACE_MB = 200
_VIEWS = 3  # of a set, drawn from those that a moment has
_PICTURES = 6  # frames that the report shows in space


@dataclass(frozen=True)
class AdaptDepthConfig:
    """A run on a user's own depth frames."""

    target: DepthTargetConfig
    source: Path | None = None  # a depth hand model to start from
    domain: str = "varied"
    size: Literal["small", "full"] = "small"
    truth: Path | None = None  # for measuring alone
    seed: int = 0


@dataclass(frozen=True)
class _DepthTarget:
    """A target cut around its hands, held in memory."""

    held: Held[UnlabelledBatch]
    skipped: dict[str, str]

    @property
    def most_views(self) -> int:
        """Of one moment, by calibrated cameras."""
        names = self.held.names()
        return 1 if names.T_world_cam is None else max(map(len, sets_of(names)))


def run_adapt_depth(config: AdaptDepthConfig, folder: Path, hardware: Hardware) -> Record:
    """Train, adapt, predict, and leave model, joints, meshes, record; raises ``InputError`` for bad input at once."""
    started = monotonic()
    check_space(folder, _SPACE_MB)
    size, trained = _start(config)
    truth = None if config.truth is None else KeypointSet.load(config.truth)
    # Whether the frames can be used at all is told before anything is rendered; they are cut again by the model.
    views = min(_VIEWS, hold_target(config.target, size, None).most_views)
    size = _for_views(size, views)
    run = Run.create(folder, "adapt-depth", config, hardware, size)
    source = _render(config, size, trained is not None)
    hand = AnnyHand(size.network.shape_size)
    context = _context(config, size, hand, source, hardware)
    method, reports = MultiViewFusion(size.method), _Reports(run)
    if trained is None:
        for stage in method.pretraining(context):
            reports.train(stage)
            trained = stage.result()
    assert trained is not None

    target = hold_target(config.target, size, DepthHandPredictor(_spec(size), trained.eval()))
    _tell(folder, target)
    whole = target.held.all()
    before = _hands(size, trained, whole)
    onward = replace(context, target=lambda sets, count: SetStream(target.held, sets, config.seed + 1, count))
    tuning = method.fine_tuning(onward, trained)
    reports.train(tuning)
    adapted = tuning.result().eval()
    after = _hands(size, adapted, whole)

    save_depth_hand(folder, _spec(size), adapted)
    predictor = DepthHandPredictor(_spec(size), adapted)
    left: dict[Role, DepthHands] = {"source_only": before, "adapted": after}
    found: dict[Role, KeypointSet] = {role: keypoints_of(predictor, whole, hands) for role, hands in left.items()}
    found["adapted"].save(folder / "predictions.npz")
    save_meshes(MeshSet.of(predictor, whole, after), folder, "npz")
    scores: dict[Role, Score] = {}
    if truth is not None:
        scores = {role: _score(keypoints, truth, whole) for role, keypoints in found.items()}
    story = Story(
        title=f"{config.target.path.name}, from {config.domain} renders",
        method=METHOD,
        skeleton=HAND21,
        config=config,
        recipe=size,
        seed=config.seed,
        started=started,
        skipped=target.skipped,
        notes=_notes(views),
        metric="mean_error_mm",
    )
    frames = gallery(whole, found["adapted"], truth, size.cube_m)
    record = make_record(story, {"adapted": reports.history()}, scores, frames)
    record = replace(
        record,
        depth_fits={role: depth_fit(hands) for role, hands in left.items()},
        depth_hands=_pictures(predictor, whole, before, after),
    )
    save_record(record, folder)
    return record


class _Reports:
    """Trains stages one after the other, and keeps what they tell."""

    def __init__(self, run: Run):
        self.run = run
        self._reports: list[StageReport] = []
        self._folders: list[Path] = []

    def train(self, stage) -> None:
        number = len(self._reports) + 1
        self._reports.append(self.run.train(number, stage))
        self._folders.append(self.run.stage_folder(number, stage.name))

    def history(self) -> History:
        return History(tuple(self._reports), tuple(self._folders))


def _start(config: AdaptDepthConfig) -> tuple[DepthFusionSize, DepthHandModel | None]:
    """The size, and the model that was given."""
    if config.domain not in DEPTH_DOMAINS:
        raise InputError(f"{config.domain} is no look of depth: choose {', '.join(DEPTH_DOMAINS)}")
    size = SIZES[config.size]
    if config.source is None:
        return size, None
    spec, model = load_depth_hand(config.source)
    if spec.skeleton != HAND21.name:
        raise InputError(f"{config.source} predicts {spec.skeleton}, and this run needs {HAND21.name}")
    if spec.cube_m != size.cube_m:
        cubes = f"cubes of {1000 * spec.cube_m:g} mm, and renders come in {1000 * size.cube_m:g}"
        raise InputError(f"{config.source} reads {cubes}: give a model that was trained on them")
    return replace(size, size_px=spec.size_px, network=spec.network, fusion=spec.fusion), model


def hold_target(config: DepthTargetConfig, size: DepthFusionSize, predictor: DepthHandPredictor | None) -> _DepthTarget:
    """The frames, cut around the nearest blob; with a ``predictor``, around the joints that it finds there.

    Centres that the user gives stay. Raises ``InputError`` for what can't be read, and where no frame shows a hand.
    """
    crop = CubeCropConfig(size.size_px, size.cube_m, config.hand)
    if predictor is None or config.centres is not None:
        crops = DepthCrops(open_depth(config), crop)
        return _DepthTarget(Held(crops), crops.skipped)
    frames = open_depth(config, centres="none")
    lost: dict[str, str] = {}
    held = Held(_followed(frames, HandTracker(predictor, crop, blob_of(config)), lost))
    return _DepthTarget(held, frames.skipped | lost)


def _followed(frames: IndexedFrames, track: HandTracker, lost: dict[str, str]) -> Iterator[UnlabelledBatch]:
    for frame in frames:
        try:
            yield track(frame).crop.to("cpu")
        except UnreadableFrameError as error:
            lost[error.file] = error.reason


def _for_views(size: DepthFusionSize, views: int) -> DepthFusionSize:
    """Fine-tuning by as many views as a moment has; by copies of its picture, where it has one."""
    tuning = replace(size.method.fine_tuning, views=views if views > 1 else _VIEWS, single_view=views == 1)
    return replace(size, method=replace(size.method, fine_tuning=tuning))


def _notes(views: int) -> tuple[str, ...]:
    if views > 1:
        return (f"moments were seen by calibrated cameras: {views} views of each explain one another",)
    return ("each moment was seen by one camera: turned, scaled and shifted copies of its picture stood in for views",)


def _render(config: AdaptDepthConfig, size: DepthFusionSize, replayed: bool) -> Held[LabelledBatch]:
    """The source; less of it where it only keeps a trained model in place."""
    sets = size.target_sets if replayed else size.source_sets
    with rendering_progress(sets * size.views) as told:
        return hold_hands(size, config.domain, sets, config.seed, told)


def _context(
    config: AdaptDepthConfig, size: DepthFusionSize, hand: AnnyHand, source: Held[LabelledBatch], hardware: Hardware
) -> DepthContext:
    def new_model() -> DepthHandModel:
        torch.manual_seed(config.seed)
        return DepthHandModel(size.network, size.fusion, HAND21)

    return DepthContext(
        new_model=new_model,
        hand=hand,
        skeleton=HAND21,
        cube_m=size.cube_m,
        source=lambda sets, views: SetStream(source, sets, config.seed, views),
        target=None,
        seed=config.seed,
        workers=hardware.workers,
    )


def _spec(size: DepthFusionSize) -> DepthHandSpec:
    return DepthHandSpec(size.network, size.fusion, HAND21.name, size.size_px, size.cube_m, METHOD)


def _tell(folder: Path, target: _DepthTarget) -> None:
    if target.skipped:
        listed = list_skipped(folder, len(target.held), target.skipped)
        print(f"{len(target.skipped)} frames could not be used; they are listed in {listed}")


def _hands(size: DepthFusionSize, model: DepthHandModel, whole: UnlabelledBatch) -> DepthHands:
    """Of all frames, each by itself: what a user's single camera will give."""
    predictor = DepthHandPredictor(_spec(size), model)
    found = [predictor(part.to(predictor.device), fused=False) for part in parts(whole)]
    return DepthHands(*(torch.cat([vars(hands)[name] for hands in found]).cpu() for name in vars(found[0])))


def depth_fit(hands: DepthHands) -> DepthFit:
    """How well the hands explain the depth that they were found in."""
    apart_mm = 1000 * hands.apart_m[hands.apart_m.isfinite()]
    nothing = apart_mm.numel() == 0
    minds_mm = 1000 * (hands.joints_m - hands.model_joints_m).norm(dim=-1).mean()
    return DepthFit(
        frames=len(hands.apart_m),
        apart_mm=float("nan") if nothing else apart_mm.median().item(),
        worst_apart_mm=float("nan") if nothing else apart_mm.quantile(0.9).item(),
        explained=hands.explained.mean().item(),
        of_two_minds_mm=minds_mm.item(),
    )


def _pictures(
    predictor: DepthHandPredictor, whole: UnlabelledBatch, before: DepthHands, after: DepthHands
) -> tuple[DepthHandPicture, ...]:
    """Evenly chosen frames."""
    faces = predictor.hand.faces(torch.device("cpu"))
    chosen = torch.linspace(0, len(whole) - 1, min(_PICTURES, len(whole))).round().int().tolist()

    def drawn(hands: DepthHands, i: int):
        return hand_panels(whole, hands, i, faces, HAND21, predictor.spec.cube_m)

    def apart_mm(hands: DepthHands, i: int) -> float:
        return 1000 * hands.apart_m[i].item()

    return tuple(
        DepthHandPicture(whole.key[i], drawn(before, i), drawn(after, i), apart_mm(before, i), apart_mm(after, i))
        for i in chosen
    )


def _score(found: KeypointSet, truth: KeypointSet, whole: UnlabelledBatch) -> Score:
    side_px = crop_side(whole)
    return evaluate(in_crops(found, whole, side_px), in_crops(_with_pixels(truth), whole, side_px), side_px, DEPTH)


def _with_pixels(truth: KeypointSet) -> KeypointSet:
    """With places in the image, which labels of depth have beside their depth."""
    if truth.uv_px is None and truth.uvd is not None:
        return replace(truth, uv_px=truth.uvd[..., :2])
    if truth.uv_px is None:
        raise InputError("the truth has no uv_px and no uvd: give one of them beside xyz_mm")
    return truth
