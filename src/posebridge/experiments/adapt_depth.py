"""Adaptation from rendered hands to a user's own unlabelled depth frames."""

from dataclasses import dataclass, replace
from pathlib import Path

from posebridge.bodies.parametric_hand import check_mano_file
from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record
from posebridge.contracts.reference_frames import check_reference_frame
from posebridge.data.crops import CubeCropConfig
from posebridge.data.depth_target import DepthCrops, blob_between, open_depth
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.target_config import DepthTargetConfig
from posebridge.deployment.predictor import Predictor
from posebridge.deployment.refined_crops import depth_batches
from posebridge.errors import InputError
from posebridge.evaluation.target_labels import joint_order
from posebridge.experiments.choices import named_method, source_path
from posebridge.experiments.configs import AdaptDepthConfig
from posebridge.experiments.data import ExperimentData, statistics_joints_m
from posebridge.experiments.evaluation_sets import InMemoryEvaluation
from posebridge.experiments.renders import render_source
from posebridge.experiments.run_outputs import RunOutputs
from posebridge.experiments.runner import Experiment, run_experiment
from posebridge.experiments.source_model import load_source_model
from posebridge.experiments.tracks import TRACKS
from posebridge.methods.registry import default_method
from posebridge.presets.preset import Preset
from posebridge.presets.table import find_preset
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.domains import find_domain
from posebridge.training.frames import InMemoryFrames
from posebridge.training.options import Hardware
from posebridge.training.run import Run, check_space


def run_adapt_depth(config: AdaptDepthConfig, folder: Path, hardware: Hardware) -> Record:
    """Train, adapt, predict; leave model, joints, meshes and record. Raises ``InputError`` for bad input at once."""
    Run.check(folder, "adapt-depth", config, hardware)
    method = named_method(config.method) or default_method("depth", "views")
    method.check_sensor("depth", "the target of adapt-depth")
    find_domain("hand-depth", config.domain)
    check_mano_file(config.mano)
    preset = find_preset("adapt/hand-depth", config.preset, method.name).keeping(method.name)
    preset = preset.with_depth_options(method.name, translate=config.translate, stacks=config.stacks)
    check_space(folder, preset.space_mb)
    model = None
    source = config.source
    if source is None and (config.mano is not None or config.translate or config.stacks != 1):
        source = "renders"  # no shipped model is trained in this way
    path = source_path(source, "hand-depth", config.preset)
    if path is not None:
        if config.stacks != 1:
            raise InputError(f"leave --stacks out: {config.source} is trained already, with stacks of its own")
        model = load_source_model(path, preset.model, config.mano)
        preset = replace(preset, model=model.spec)
    reach = blob_between(*config.target.reach_m)
    crops = DepthCrops(open_depth(config.target), _crop_config(config.target, preset), reach)
    target = InMemoryDataset(crops)
    frames = target.without_images()
    truth = None if config.truth is None else load_truth(config.truth, frames)
    preset = preset.with_config(method.name, preset.config_of(method.name).for_target(frames))
    run = Run.create(folder, "adapt-depth", config, hardware, preset)
    outputs = RunOutputs.of(folder)
    outputs.save_skipped(len(target), crops.skipped)
    outputs.print_skipped(crops.skipped)
    experiment = Experiment(
        title=f"{config.target.path.name}, from {config.domain} renders",
        method=method,
        preset=preset,
        seed=config.seed,
        hardware=hardware,
        config=config,
        source_model=model,
        mano=config.mano,
    )
    return run_experiment(experiment, _data(config, experiment, crops, target, truth), run).record


def _data(
    config: AdaptDepthConfig,
    experiment: Experiment,
    crops: DepthCrops,
    target: InMemoryDataset[UnlabelledBatch],
    truth: KeypointSet | None,
) -> "DepthTargetData":
    preset, track, given = experiment.preset, TRACKS["hand-depth"], experiment.source_model is not None
    source = render_source(
        preset, experiment.method, track, config.domain, config.seed, mano=config.mano, model_given=given
    )
    return DepthTargetData(
        source=source,
        target=InMemoryFrames(target, config.seed + 1),
        source_joints_m=statistics_joints_m(source.dataset),
        evaluation=InMemoryEvaluation(target, truth, track.protocol, preset.model.cube_m),
        hand=preset.model.hand_model(config.mano),
        unusable=crops.skipped,
        crops=crops,
    )


_REFINED_AT_ONCE = 64


@dataclass(frozen=True)
class DepthTargetData(ExperimentData):
    """A user's depth frames. They are cropped again around the hands that the source model predicts."""

    crops: DepthCrops | None = None

    def refined(self, predictor: Predictor) -> "DepthTargetData":
        """The same frames in their second crops. Centres from the user are kept."""
        assert self.crops is not None
        dataset = InMemoryDataset(depth_batches(self.crops, predictor, _REFINED_AT_ONCE))
        assert isinstance(self.target, InMemoryFrames)
        assert isinstance(self.evaluation, InMemoryEvaluation)
        return replace(
            self,
            target=replace(self.target, dataset=dataset),
            evaluation=replace(self.evaluation, crops=dataset),
        )


def _crop_config(config: DepthTargetConfig, preset: Preset) -> CubeCropConfig:
    assert preset.model.cube_m is not None
    return CubeCropConfig(preset.model.size_px, preset.model.cube_m, config.hand)


def load_truth(path: Path, frames: Observation) -> KeypointSet:
    """Labels of the frames. Where they hold depth beside pixels, as ``uvd``, their pixels are taken from it.

    Raises ``InputError`` for a file that has no labels of these frames.
    """
    truth = KeypointSet.load_labels(path)
    if truth.uv_px is None and truth.uvd is not None:
        truth = replace(truth, uv_px=truth.uvd[..., :2])
    if truth.uv_px is None:
        raise InputError(f"{path}: the truth has no uv_px and no uvd: give one of them beside xyz_mm")
    joint_order(truth, frames.key, HAND21)
    check_reference_frame(truth, str(path), relative=False)
    return truth
