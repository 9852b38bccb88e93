"""Stages of geometric reconstruction on stick hands, and batches of their streams."""

from dataclasses import replace

from methods.stick_hands import CONFIG, context, network
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.fine_tuning import FineTuning, Phase
from posebridge.methods.geometric_reconstruction.pretraining import Pretraining
from posebridge.methods.geometric_reconstruction.reconstructor_training import ReconstructorTraining
from posebridge.training.stage import Stage
from posebridge.training.style import FourierStyle


def pretraining_stage(**changes) -> Pretraining:
    config = replace(CONFIG, **changes)
    assert config.pretraining is not None
    assert isinstance(config.style, FourierStyle)
    return Pretraining(config, config.pretraining, context(), network(), config.style.restyler())


def reconstructor_stage(config: GeometricReconstructionConfig = CONFIG) -> ReconstructorTraining:
    assert config.reconstruction is not None
    return ReconstructorTraining(config.geometry, config.reconstruction, context(), network())


def fine_tuning_stage(config: GeometricReconstructionConfig = CONFIG, phase: Phase | None = None) -> FineTuning:
    reconstructor = None if config.reconstruction is None else reconstructor_stage(config).reconstructor
    return FineTuning(
        config, phase or Phase(config.schedule, start_frac=0.5), context(), network(), None, reconstructor
    )


def batches(stage: Stage, number: int = 0) -> dict:
    return {name: stream.batch(number) for name, stream in stage.streams.items()}
