"""Adaptation from rendered hands to a user's own unlabelled depth frames."""

from dataclasses import dataclass, replace
from pathlib import Path

from posebridge.bodies.parametric_hand import check_mano_file, load_parametric_hand
from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record
from posebridge.data.agreeing_views import agreeing_views
from posebridge.data.crops import CubeCropConfig
from posebridge.data.depth_target import DepthCrops, blob_of, open_depth
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.target_config import DepthTargetConfig
from posebridge.deployment.depth_predictor import DepthHandPredictor
from posebridge.deployment.hand_tracking import HandTracker
from posebridge.deployment.model_file import LoadedModel, load_model
from posebridge.deployment.model_kinds import DEPTH_HAND
from posebridge.deployment.model_spec import HandName
from posebridge.deployment.predictor import Predictor
from posebridge.errors import InputError
from posebridge.evaluation.protocols import DEPTH_JOINT_ERROR
from posebridge.evaluation.target_labels import joint_order
from posebridge.experiments.configs import AdaptDepthConfig
from posebridge.experiments.data import ExperimentData, statistics_joints_m
from posebridge.experiments.depth_preset import depth_preset
from posebridge.experiments.evaluation_sets import InMemoryEvaluation
from posebridge.experiments.preset import Preset
from posebridge.experiments.renders import RenderLoader, rendering_progress
from posebridge.experiments.run_outputs import RunOutputs
from posebridge.experiments.runner import Experiment, run_experiment
from posebridge.methods.registry import MethodEntry, find_method
from posebridge.networks.depth_hand import DepthHandConfig
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.domains import find_domain
from posebridge.training.frames import InMemoryFrames
from posebridge.training.options import Hardware
from posebridge.training.run import Run, check_space


def run_adapt_depth(config: AdaptDepthConfig, folder: Path, hardware: Hardware) -> Record:
    """Train, adapt, predict; leave model, joints, meshes and record. Raises ``InputError`` for bad input at once."""
    Run.check(folder, "adapt-depth", config, hardware)
    method = find_method(config.method)
    method.check_sensor("depth", "the target of adapt-depth")
    find_domain("hand-depth", config.domain)
    check_mano_file(config.mano)
    preset = depth_preset("adapt/hand-depth", config.preset, method, translate=config.translate, stacks=config.stacks)
    check_space(folder, preset.space_mb)
    model = None
    if config.source is not None:
        model = _load_source(config, config.source, preset)
        preset = preset.with_spec(model.spec)
    crops = _crops(config.target, preset)
    target = InMemoryDataset(crops)
    frames = target.without_images()
    truth = None if config.truth is None else load_truth(config.truth, frames)
    preset = preset.with_config(method.name, preset.config_of(method.name).for_target(frames))
    run = Run.create(folder, "adapt-depth", config, hardware, preset)
    RunOutputs.of(folder).save_skipped(len(target), crops.skipped)
    experiment = Experiment(
        title=f"{config.target.path.name}, from {config.domain} renders",
        method=method,
        preset=preset,
        skeleton=HAND21,
        seed=config.seed,
        hardware=hardware,
        config=config,
        metric="mean_error_mm",
        source_model=model,
        mano=config.mano,
    )
    data = _data(config, method, preset, target, truth, crops.skipped, model is not None)
    return run_experiment(experiment, data, run).record


@dataclass(frozen=True)
class DepthTargetData(ExperimentData):
    """A user's depth frames. They are cropped again around the hands that the source model predicts."""

    files: DepthTargetConfig | None = None
    crop: CubeCropConfig | None = None
    dataset: InMemoryDataset[UnlabelledBatch] | None = None

    def refined(self, predictor: Predictor) -> "DepthTargetData":
        """The same frames, each cropped around the hand that explains more of its depth.

        Centres from the user are kept, as are those of views whose new crop would show another hand.
        """
        assert self.files is not None
        assert self.crop is not None
        assert self.dataset is not None
        if self.files.centres is not None or not isinstance(predictor, DepthHandPredictor):
            return self
        place_of = {key: place for place, key in enumerate(self.dataset.without_images().key)}
        tracker = HandTracker(predictor, self.crop, blob_of(self.files))
        frames = open_depth(self.files, "none")
        crops = (tracker.detect(frame).crop.to("cpu") for frame in frames if frame.key in place_of)
        disagreeing: dict[str, str] = {}
        recropped = {view.key[0]: view for view in agreeing_views(crops, self.crop.cube_m, disagreeing)}
        dataset = InMemoryDataset(
            recropped[key] if key in recropped else self.dataset[place] for key, place in place_of.items()
        )
        assert isinstance(self.target, InMemoryFrames)
        assert isinstance(self.evaluation, InMemoryEvaluation)
        return replace(
            self,
            target=replace(self.target, dataset=dataset),
            evaluation=replace(self.evaluation, observed=dataset.all()),
            dataset=dataset,
        )


def _load_source(config: AdaptDepthConfig, path: Path, preset: Preset) -> LoadedModel:
    if config.stacks != 1:
        raise InputError(f"leave --stacks out: {path} is trained already, with stacks of its own")
    model = load_model(path, DEPTH_HAND)
    spec = model.spec
    if spec.skeleton != HAND21.name:
        raise InputError(f"{path} predicts {spec.skeleton}, and this run needs {HAND21.name}")
    hand: HandName = "anny" if config.mano is None else "mano"
    if spec.hand != hand:
        raise InputError(f"{path} predicts hands of {spec.hand}, and this run's are those of {hand}")
    if spec.cube_m != preset.cube_m:
        assert preset.cube_m is not None
        cubes = f"cubes of {1000 * spec.cube_m:g} mm, and renders come in {1000 * preset.cube_m:g}"
        raise InputError(f"{path} reads {cubes}: give a model that was trained on them")
    return model


def _crops(config: DepthTargetConfig, preset: Preset) -> DepthCrops:
    """The frames, cropped around the nearest blob or the given centres."""
    return DepthCrops(open_depth(config), _crop_config(config, preset))


def _crop_config(config: DepthTargetConfig, preset: Preset) -> CubeCropConfig:
    assert preset.cube_m is not None
    return CubeCropConfig(preset.size_px, preset.cube_m, config.hand)


def _data(
    config: AdaptDepthConfig,
    method: MethodEntry,
    preset: Preset,
    target: InMemoryDataset[UnlabelledBatch],
    truth: KeypointSet | None,
    skipped: dict[str, str],
    has_model: bool,
) -> DepthTargetData:
    source = render_depth_source(preset, method, config.domain, config.seed, config.mano, has_model)
    assert isinstance(preset.network, DepthHandConfig)
    return DepthTargetData(
        source=source,
        target=InMemoryFrames(target, config.seed + 1),
        source_joints_m=statistics_joints_m(source.dataset),
        evaluation=InMemoryEvaluation(target.all(), truth, DEPTH_JOINT_ERROR, preset.cube_m),
        hand=load_parametric_hand(config.mano, preset.network.shape_size),
        unusable=skipped,
        files=config.target,
        crop=_crop_config(config.target, preset),
        dataset=target,
    )


def render_depth_source(
    preset: Preset, method: MethodEntry, domain: str, seed: int, mano: Path | None, has_model: bool = False
) -> InMemoryFrames:
    """Rendered sets of depth views; fewer of them where a trained model is given."""
    count = preset.data.source_with_model if has_model else preset.data.source
    assert count is not None
    with rendering_progress(count) as on_progress:
        loader = RenderLoader(
            track="hand-depth",
            preset=preset,
            labels=frozenset(method.source_labels),
            mano=mano,
            on_progress=on_progress,
        )
        return InMemoryFrames(loader.load(domain, count, seed), seed)


def load_truth(path: Path, frames: Observation) -> KeypointSet:
    """Labels of the frames. Where they hold depth beside pixels, as ``uvd``, their pixels are taken from it.

    Raises ``InputError`` for a file that has no labels of these frames.
    """
    truth = KeypointSet.load(path)
    if truth.uv_px is None and truth.uvd is not None:
        truth = replace(truth, uv_px=truth.uvd[..., :2])
    if truth.uv_px is None:
        raise InputError(f"{path}: the truth has no uv_px and no uvd: give one of them beside xyz_mm")
    joint_order(truth, frames.key, HAND21)
    return truth
