"""Studies of multi-view fusion on SynthShift's depth hands: errors of joints and meshes (Ren et al., CVPR 2022)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from posebridge.bodies.parametric_hand import load_parametric_hand
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.in_memory import InMemoryDataset
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.depth_preset import fusion_config
from posebridge.experiments.hand_errors import HandErrors, measure
from posebridge.experiments.preset import Change, unchanged
from posebridge.experiments.runner import Experiment, experiment_context
from posebridge.experiments.synthshift import (
    run_synthshift,
    shared_run,
    synthshift_data,
    synthshift_experiment,
)
from posebridge.experiments.synthshift_sets import SynthShiftSets, render_sets
from posebridge.methods.multi_view_fusion.supervised_stages import FusionTraining, SingleViewTraining
from posebridge.networks.depth_hand import DepthHandConfig
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.pose_network import network_as
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.training.options import Hardware
from posebridge.training.run import Run


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
        preset = replace(experiment.preset, fusion=fusion)
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
    preset = experiment.preset
    assert isinstance(preset.network, DepthHandConfig)
    assert preset.cube_m is not None
    hand = load_parametric_hand(None, preset.network.shape_size)
    return measure(model, hand, dataset, preset.cube_m, preset.data.views)
