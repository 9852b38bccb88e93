"""Studies of multi-view fusion on SynthShift's depth hands: errors of joints and meshes (Ren et al., CVPR 2022)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from posebridge.contracts.batch import LabelledBatch
from posebridge.data.in_memory import InMemoryDataset
from posebridge.deployment.model_spec import DepthHandSpec
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.runner import Experiment, experiment_context
from posebridge.experiments.synthshift import (
    run_synthshift,
    shared_run,
    synthshift_data,
    synthshift_experiment,
)
from posebridge.experiments.synthshift_sets import SynthShiftSets, render_sets
from posebridge.methods.multi_view_fusion.config import MultiViewFusionConfig
from posebridge.methods.multi_view_fusion.hand_errors import HandErrors, measure
from posebridge.methods.multi_view_fusion.supervised_stages import FusionTraining, SingleViewTraining
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.pose_network import network_as
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.presets.preset import Change, Preset, unchanged
from posebridge.training.options import Hardware
from posebridge.training.run import Run

_METHOD = "multi-view-fusion"


def translated(preset: Preset) -> Preset:
    """The preset with source renders that are translated to the target's style first."""
    return preset.with_depth_options(_METHOD, translate=True, stacks=1)


def stacked(stacks: int) -> Change:
    """Presets with so many single-view networks, each of which refines the one before."""
    return lambda preset: preset.with_depth_options(_METHOD, translate=False, stacks=stacks)


def fine_tuning(**changes: Any) -> Change:
    """Presets with another fine-tuning; ``changes`` are fields of ``FineTuningConfig``."""

    def change(preset: Preset) -> Preset:
        method = fusion_config(preset)
        return preset.with_config(_METHOD, replace(method, fine_tuning=replace(method.fine_tuning, **changes)))

    return change


def fine_tuning_steps(steps: int) -> Change:
    """Presets whose fine-tuning takes so many steps."""

    def change(preset: Preset) -> Preset:
        return fine_tuning(schedule=replace(fusion_config(preset).fine_tuning.schedule, steps=steps))(preset)

    return change


def one_camera(preset: Preset) -> Preset:
    """The preset with augmented copies of single views in the place of calibrated views."""
    return preset.with_config(_METHOD, fusion_config(preset).for_one_camera())


def fusion_config(preset: Preset) -> MultiViewFusionConfig:
    """The preset's config of multi-view fusion."""
    config = preset.config_of(_METHOD)
    assert isinstance(config, MultiViewFusionConfig)
    return config


def study_sets(config: SynthShiftConfig) -> SynthShiftSets:
    """Render the sets of one seed, for all rows of a study."""
    experiment = synthshift_experiment(config, Hardware())
    return render_sets(config, experiment.preset, experiment.method)


def run_depth_study(
    config: SynthShiftConfig,
    folder: Path,
    hardware: Hardware,
    change: Change = unchanged,
    sets: SynthShiftSets | None = None,
) -> dict[str, HandErrors]:
    """Train all stages; errors on test hands after pretraining, of source and target, and after fine-tuning.

    ``change`` makes another preset. Where it changes what pretraining depends on, ``config.shared`` is not used.
    """
    sets = sets or study_sets(config)
    experiment = synthshift_experiment(config, hardware, change)
    trained = run_synthshift(config, folder, hardware, "depth-study", change, sets).trained
    before, after = (network_as(trained[role].network, DepthHandModel) for role in ("source_only", "adapted"))
    return {
        "pretrained, studio": _errors(before, experiment, sets.test_source),
        "pretrained": _errors(before, experiment, sets.test_target),
        "fine-tuned": _errors(after, experiment, sets.test_target),
    }


def compare_fusions(
    config: SynthShiftConfig,
    folder: Path,
    hardware: Hardware,
    fusions: Mapping[str, ViewFusionConfig],
    sets: SynthShiftSets,
) -> dict[str, HandErrors]:
    """Errors of several fusion networks on top of one single-view network, on source and target, without fine-tuning.

    The single-view network lies in ``config.shared``, or is trained there. Raises ``ValueError`` without that folder.
    """
    experiment = synthshift_experiment(config, hardware)
    shared = shared_run(config, experiment)
    if shared is None:
        raise ValueError("fusions are compared on one single-view network: give its folder as shared")
    data, method = synthshift_data(config, experiment.preset, sets), fusion_config(experiment.preset)
    context = experiment_context(experiment, data)
    single = SingleViewTraining(method.single_view, context, network_as(context.new_network(), DepthHandModel))
    shared.train(1, single)
    measured: dict[str, HandErrors] = {}
    for name, fusion in fusions.items():
        preset = experiment.preset
        assert isinstance(preset.model, DepthHandSpec)
        preset = replace(preset, model=replace(preset.model, fusion=fusion))
        same = preset == experiment.preset
        run = shared if same else Run.create(folder / name, "depth-study", config, hardware, preset)
        other = experiment_context(replace(experiment, preset=preset), data)
        model = network_as(other.new_network(), DepthHandModel)
        model.single = single.result().single
        stage = FusionTraining(method.fusion, other, model)
        run.train(2, stage)
        for domain, dataset in (("studio", sets.test_source), (config.target_domain, sets.test_target)):
            measured[f"{name}, {domain}"] = _errors(stage.result(), experiment, dataset)
    return measured


def _errors(model: DepthHandModel, experiment: Experiment, dataset: InMemoryDataset[LabelledBatch]) -> HandErrors:
    spec = experiment.preset.model
    hand = spec.hand_model(None)
    assert hand is not None
    assert spec.cube_m is not None
    return measure(model, hand, dataset, spec.cube_m, experiment.preset.data.views)
