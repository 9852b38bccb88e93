"""Disentangled VAE: the values of chapter 4 of Yang's dissertation, 2022, and values for two CPU cores."""

from dataclasses import replace

from posebridge.data.augment import GeometryConfig
from posebridge.deployment.model_spec import ImageSynthesisSpec, LatentPoseSpec
from posebridge.methods.disentangled_vae.config import (
    BoundConfig,
    DisentangledVAEConfig,
    EstimationConfig,
    SynthesisConfig,
)
from posebridge.networks.image_synthesis import ImageSynthesisConfig
from posebridge.networks.latent_pose import LatentPoseConfig
from posebridge.presets.preset import DataSizes, Preset
from posebridge.rendering.photometry import WEAK
from posebridge.training.optimisers import Schedule

METHOD = "disentangled-vae"
# Presets of image synthesis, with tag images and without them, are named by these endings.
SYNTHESIS, EXTRA_LATENT = "synthesis", "synthesis-extra"
_CONTENTS = 8  # of rendered sources: 6 to 12 backgrounds, as STB has 6
_FULL_SIZE_PX = 128


def _bound(steps: int, learning_rate: float, beta: float) -> BoundConfig:
    schedule = Schedule(steps=steps, learning_rate=learning_rate, decay="cosine", warmup=0.03)
    return BoundConfig(schedule, beta=beta)


def _preset(family: str, name: str, model: LatentPoseSpec | ImageSynthesisSpec, **values) -> Preset:
    config = DisentangledVAEConfig(values.pop("task"))
    return Preset(family=family, name=name, model=model, methods={METHOD: config}, space_mb=700, **values)


def _synthesis(family: str, preset: Preset, model: ImageSynthesisSpec, task: SynthesisConfig) -> tuple[Preset, ...]:
    """Image synthesis with tag images, and with the extra latent. Rendered sources have recurring contents."""
    data = replace(preset.data, contents=_CONTENTS)
    extra = replace(model, network=replace(model.network, content="extra"))
    # A step of Algorithm 4.2 has one more in its inner loop.
    bound = task.disentangling
    steps = (1 + task.inner_steps) * bound.schedule.steps
    longer = replace(task, disentangling=replace(bound, schedule=replace(bound.schedule, steps=steps)))
    return (
        _preset(family, f"{preset.name}-{SYNTHESIS}", model, task=task, data=data),
        _preset(family, f"{preset.name}-{EXTRA_LATENT}", extra, task=longer, data=data),
    )


def _small(family: str, data: DataSizes) -> tuple[Preset, ...]:
    """For two CPU cores, at 64 px."""
    views = GeometryConfig(rotation_deg=30.0, shear_deg=0.0, translation=0.04, scale=(0.9, 1.1))
    estimation = EstimationConfig(
        disentangling=_bound(3_000, 1e-3, beta=0.01),
        embedding=_bound(1_500, 1e-3, beta=0.01),
        geometry=views,
        appearance=WEAK,
    )
    preset = _preset(family, "small", LatentPoseSpec(size_px=64), task=estimation, data=data)
    synthesis = SynthesisConfig(disentangling=_bound(2_400, 1e-3, beta=100.0), embedding=_bound(1_000, 1e-3, beta=1.0))
    model = ImageSynthesisSpec(network=ImageSynthesisConfig(size_px=64, decoder_width=32))
    return preset, *_synthesis(family, preset, model, synthesis)


def _full(family: str, data: DataSizes) -> tuple[Preset, ...]:
    """For a GPU: the chapter's values."""
    model = LatentPoseSpec(network=LatentPoseConfig())
    preset = _preset(family, "full", model, task=EstimationConfig(), data=data)
    synthesis = ImageSynthesisSpec(network=ImageSynthesisConfig(size_px=_FULL_SIZE_PX))
    return preset, *_synthesis(family, preset, synthesis, SynthesisConfig())


PRESETS = (
    *_small("synthshift/hand-rgb", DataSizes(source=4_000, target=1_000, test=1_000)),
    *_full("synthshift/hand-rgb", DataSizes(source=40_000, target=3_200, test=3_200)),
    *_small("datasets/hand-rgb", DataSizes(source=4_000, test=1_000)),
    *_full("datasets/hand-rgb", DataSizes(source=40_000)),
)
