"""From rendered hands to a user's own depth frames, without a label of theirs: multi-view fusion, whole."""

from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Literal

from posebridge.bodies.parametric_hand import check_mano_file
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.contracts.record import Record, Role, Score
from posebridge.contracts.record_file import save_record
from posebridge.data.agreeing_views import agreeing_views
from posebridge.data.crops import CubeCropConfig
from posebridge.data.depth_target import DepthCrops, DepthTargetConfig, blob_of, open_depth
from posebridge.data.in_memory import InMemoryDataset
from posebridge.deployment.depth_predictor import DepthHandPredictor, MeshSet
from posebridge.deployment.hand_tracking import HandTracker
from posebridge.deployment.mesh_files import save_meshes
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import DEPTH_HAND
from posebridge.deployment.model_spec import HandName
from posebridge.deployment.predict_files import list_skipped
from posebridge.errors import InputError
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.recipes.depth_adaptation import (
    METHOD,
    DepthAdaptation,
    adapt_hands,
    for_target,
    load_truth,
    note_on_views,
    score_hands,
)
from posebridge.recipes.depth_fusion import SIZES, DepthFusionSize
from posebridge.recipes.records import RunMetadata
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.depth_scene import DEPTH_DOMAINS
from posebridge.training.options import Hardware
from posebridge.training.run import Run, check_space

_SPACE_MB = 200


@dataclass(frozen=True)
class AdaptDepthConfig:
    """A run on a user's own depth frames."""

    target: DepthTargetConfig
    source: Path | None = None  # a depth hand model to start from
    domain: str = "varied"
    size: Literal["small", "full"] = "small"
    truth: Path | None = None  # for measuring alone
    seed: int = 0
    mano: Path | None = None  # MANO's file, whose hand is rendered and found; None: Anny's
    translate: bool = False  # renders to the target's look, before anything learns from them
    stacks: Literal[1, 2] = 1  # of a model that is trained here


@dataclass(frozen=True)
class DepthTarget:
    """A target cut around its hands, in memory."""

    dataset: InMemoryDataset[UnlabelledBatch]
    skipped: dict[str, str]


def run_adapt_depth(config: AdaptDepthConfig, folder: Path, hardware: Hardware) -> Record:
    """Train, adapt, predict, and leave model, joints, meshes, record; raises ``InputError`` for bad input at once."""
    started = monotonic()
    check_space(folder, _SPACE_MB)
    size, given = _start(config)
    size = size.translating() if config.translate else size
    # Whether the frames can be used at all is told before anything is rendered; they are cut again by the model.
    target = load_target(config.target, size)
    truth = None if config.truth is None else load_truth(config.truth, target.dataset.without_images())
    size = for_target(size, target.dataset.without_images())
    run = Run.create(folder, "adapt-depth", config, hardware, size)
    adaptation = DepthAdaptation(run, size, config.domain, config.seed, hardware, given, config.mano)
    predictor = adaptation.predictor(adaptation.pretrained(target.dataset))
    target = look_again(target, config.target, size, predictor)
    _tell(folder, target)
    whole = target.dataset.all()
    found = adapt_hands(adaptation, predictor, target.dataset, whole)
    found.save(folder)
    save_meshes(MeshSet.of(found.predictor, whole, found.hands["adapted"]), folder, "npz")
    scores: dict[Role, Score] = {}
    if truth is not None:
        scores = {role: score_hands(keypoints, truth, whole) for role, keypoints in found.keypoints.items()}
    story = RunMetadata(
        title=f"{config.target.path.name}, from {config.domain} renders",
        method=METHOD,
        skeleton=HAND21,
        config=config,
        recipe=size,
        seed=config.seed,
        started=started,
        skipped=target.skipped,
        notes=(note_on_views(size),),
        metric="mean_error_mm",
    )
    record = found.record(story, adaptation.history(), scores, truth)
    save_record(record, folder)
    return record


def _start(config: AdaptDepthConfig) -> tuple[DepthFusionSize, DepthHandModel | None]:
    """The size, and the model that was given."""
    if config.domain not in DEPTH_DOMAINS:
        raise InputError(f"{config.domain} is no look of depth: choose {', '.join(DEPTH_DOMAINS)}")
    check_mano_file(config.mano)
    size = SIZES[config.size]
    if config.source is None:
        return size.stacked(config.stacks), None
    if config.stacks != 1:
        raise InputError(f"leave --stacks out: {config.source} is trained already, with stacks of its own")
    given = load_model(config.source, DEPTH_HAND)
    spec = given.spec
    if spec.skeleton != HAND21.name:
        raise InputError(f"{config.source} predicts {spec.skeleton}, and this run needs {HAND21.name}")
    hand: HandName = "anny" if config.mano is None else "mano"
    if spec.hand != hand:
        raise InputError(f"{config.source} gives hands of {spec.hand}, and this run's are those of {hand}")
    if spec.cube_m != size.cube_m:
        cubes = f"cubes of {1000 * spec.cube_m:g} mm, and renders come in {1000 * size.cube_m:g}"
        raise InputError(f"{config.source} reads {cubes}: give a model that was trained on them")
    return replace(size, size_px=spec.size_px, network=spec.network, fusion=spec.fusion), given.network


def load_target(config: DepthTargetConfig, size: DepthFusionSize) -> DepthTarget:
    """The frames, cut around the nearest blob, or the centres that the user gives.

    Raises ``InputError`` for what can't be read, and where no frame shows a hand.
    """
    crops = DepthCrops(open_depth(config), CubeCropConfig(size.size_px, size.cube_m, config.hand))
    return DepthTarget(InMemoryDataset(crops), crops.skipped)


def look_again(
    target: DepthTarget, config: DepthTargetConfig, size: DepthFusionSize, predictor: DepthHandPredictor
) -> DepthTarget:
    """The same frames, each cut where the predictor finds that its hand explains more.

    Centres that the user gives stay, and so do those of views that would now see another hand than the others do.
    """
    if config.centres is not None:
        return target
    place_of = {key: place for place, key in enumerate(target.dataset.without_images().key)}
    crop = CubeCropConfig(size.size_px, size.cube_m, config.hand)
    tracker = HandTracker(predictor, crop, blob_of(config))
    looked = (tracker.detect(frame).crop.to("cpu") for frame in open_depth(config, "none") if frame.key in place_of)
    astray: dict[str, str] = {}
    found = {view.key[0]: view for view in agreeing_views(looked, size.cube_m, astray)}
    views = (found[key] if key in found else target.dataset[place] for key, place in place_of.items())
    return DepthTarget(InMemoryDataset(views), target.skipped)


def _tell(folder: Path, target: DepthTarget) -> None:
    if target.skipped:
        listed = list_skipped(folder, len(target.dataset), target.skipped)
        print(f"{len(target.skipped)} frames could not be used; they are listed in {listed}")
