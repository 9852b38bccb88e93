"""Gradient norm of every weighted loss term at the start of fine-tuning, over that of the supervised heat maps.

    python benchmarks/loss_terms.py --preset small
    python benchmarks/loss_terms.py --preset full --encoder resnet18 --source-steps 300

Each term is differentiated with respect to all parameters of the pose network's encoder, for geometric reconstruction
on videos of SynthShift. Source model, warm start and reconstructor are trained briefly first. Preset full has a
VGG-19 of random weights unless --feature-weights gives trained ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import lightning as L
import torch
import tyro

from posebridge.contracts.batch import Observation
from posebridge.deployment.model_spec import PoseSpec
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.runner import experiment_context
from posebridge.experiments.synthshift import synthshift_data, synthshift_experiment
from posebridge.experiments.synthshift_sets import render_sets
from posebridge.experiments.training import StageTrainer
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.fine_tuning import FineTuning
from posebridge.methods.geometric_reconstruction.method import GeometricReconstruction
from posebridge.methods.geometric_reconstruction.perceptual_features import VggFeatures
from posebridge.presets.preset import DataSizes, Preset
from posebridge.synthesis.domains import Track
from posebridge.training.options import Hardware
from posebridge.training.run import Run
from posebridge.training.stage import Stage
from posebridge.training.style import FourierStyle

METHOD = "geometric-reconstruction"


@dataclass(frozen=True)
class Options:
    """Measure the loss terms of geometric reconstruction."""

    track: Track = "hand-rgb"
    """hand-rgb or body-rgb."""

    preset: str = "small"
    """small or full."""

    encoder: str | None = None
    """Another encoder of the pose network, such as resnet18 for preset full on a CPU."""

    feature_weights: str = "none"
    """Weights of the VGG-19 of preset full: none (random features), timm, or a file."""

    source_steps: int = 1500
    """Steps of the source model. A tenth as many train the reconstructor."""

    batches: int = 8
    """Batches over which norms are averaged."""

    batch_size: int = 16
    """Frames of a batch."""

    renders: int = 1200
    """Renders of each set."""

    out: Path = Path("runs/loss-terms")
    """Folder of the run."""

    sets: Path | None = None
    """Folder in which rendered sets are kept."""

    hardware: Hardware = field(default_factory=Hardware)


def measure(options: Options) -> dict[str, float]:
    """Norm of each weighted term, over that of the supervised heat maps."""
    config = SynthShiftConfig(
        track=options.track,
        method=METHOD,
        preset=options.preset,
        target_frames="videos",
        target_domain="varied",
        sets=options.sets,
    )
    experiment = synthshift_experiment(config, options.hardware, lambda preset: _brief(preset, options))
    preset = experiment.preset
    data = synthshift_data(config, preset, render_sets(config, preset, experiment.method))
    context, run = experiment_context(experiment, data), Run(options.out)
    method = GeometricReconstruction(_config(preset))
    source = StageTrainer(run).train(method.source_stages(preset.source, context))
    for number, (stage, _) in enumerate(method.stages(replace(context, source_network=source.network)), 2):
        if stage.name == "fine-tuning":
            return relative_norms(stage, options.batches)
        run.train(number, stage)
    raise ValueError("no fine-tuning")


def gradient_norms(stage: FineTuning, batches: Mapping[str, Observation], seed: int) -> dict[str, float]:
    """Norms of the weighted terms' gradients in the parameters of the student's encoder."""
    parameters = list(stage.student.encoder.parameters())
    norms = {}
    for name, term in stage.terms(dict(batches), generator_for(stage.seed, seed)).items():
        loss = stage.term_weights[name] * term
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        norms[name] = sum(float(g.square().sum()) for g in gradients if g is not None) ** 0.5
    return norms


def relative_norms(stage: Stage, count: int) -> dict[str, float]:
    assert isinstance(stage, FineTuning)
    stage.trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    total: dict[str, float] = {}
    for number in range(count):
        batches = {name: stream.batch(number) for name, stream in stage.streams.items()}
        for name, norm in gradient_norms(stage, batches, number).items():
            total[name] = total.get(name, 0.0) + norm
    return {name: norm / total["heat"] for name, norm in total.items()}


def _config(preset: Preset) -> GeometricReconstructionConfig:
    config = preset.config_of(METHOD)
    assert isinstance(config, GeometricReconstructionConfig)
    return config


def _brief(preset: Preset, options: Options) -> Preset:
    """The preset with few renders and steps, and with source training in the place of its pretraining."""
    config, source = _config(preset), preset.source
    assert isinstance(preset.model, PoseSpec)
    assert config.reconstruction is not None
    assert source is not None
    count, later = options.renders, max(1, options.source_steps // 10)
    network = replace(preset.model.network, encoder=options.encoder or preset.model.network.encoder)
    features = config.reconstruction.features
    if isinstance(features, VggFeatures):
        features = replace(features, network=replace(features.network, pretrained=options.feature_weights))
    config = replace(
        config,
        from_source_model=True,
        pretraining=None,
        style=FourierStyle(),
        warm_start=replace(config.warm_start, steps=1),
        batch_size=options.batch_size,
        reconstruction=replace(
            config.reconstruction,
            schedule=replace(config.reconstruction.schedule, steps=later),
            batch_pairs=options.batch_size // 2,
            features=features,
        ),
    )
    schedule = replace(source.schedule, steps=options.source_steps)
    return replace(
        preset.with_config(METHOD, config),
        model=replace(preset.model, network=network),
        source=replace(source, schedule=schedule, batch_size=options.batch_size),
        data=DataSizes(source=count, target=count, test=32),
    )


def table(options: Options) -> str:
    """Markdown."""
    lines = ["| term | gradient norm |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {norm:.2g} |" for name, norm in measure(options).items())])


if __name__ == "__main__":
    try:
        print(table(tyro.cli(Options)))
    except InputError as error:
        raise SystemExit(f"loss_terms: {error}") from None
