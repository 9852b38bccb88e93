"""Translation of rendered depth to the target domain by CycleGAN (Zhu et al., ICCV 2017; Ren et al., Sec. 3.4)."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.func import functional_call

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.cube_views import CubeViews
from posebridge.data.in_memory import InMemoryDataset
from posebridge.draw import generator_for
from posebridge.methods.multi_view_fusion.depth_views import AugmentedViews, DepthViewConfig
from posebridge.networks.translation import Discriminator, Translator, TranslatorConfig
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.stage import Stage, Terms

_INFERENCE_BATCH = 64


@dataclass(frozen=True)
class TranslationConfig:
    """Defaults are CycleGAN's."""

    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=20_000, learning_rate=2e-4, decay="cosine", momentum=0.5)
    )
    networks: TranslatorConfig = field(default_factory=TranslatorConfig)
    batch_size: int = 4  # images of each domain
    cycle_weight: float = 10.0
    identity_weight: float = 5.0
    augmentation: DepthViewConfig = field(default_factory=DepthViewConfig)
    translated_frac: float = 0.5  # fraction of the source's images that are translated for the stages that follow
    background_threshold: float = 0.95  # in half cubes: a translated pixel that is deeper becomes background


class Translation(Stage):
    """Trains translators both ways, and a discriminator for each domain, in one step."""

    name = "translation"

    def __init__(self, config: TranslationConfig, context: Context):
        """Raises ``ValueError`` for a context without a target or a cube."""
        if context.cube_m is None:
            raise ValueError("a stage on depth needs a context with the side of the crops' cube")
        streams = {
            "source": context.source.view_sets(config.batch_size, 1),
            "target": context.target_frames.view_sets(config.batch_size, 1),
        }
        weights = {
            "adversarial": 1.0,
            "cycle": config.cycle_weight,
            "identity": config.identity_weight,
            "discriminator": 1.0,
        }
        super().__init__(config.schedule, streams, weights, **context.stage_options(0))
        self.config, self.cube_m = config, context.cube_m
        torch.manual_seed(context.seed)
        self.to_target, self.to_source = Translator(config.networks), Translator(config.networks)
        self.discriminator_target = Discriminator(config.networks)
        self.discriminator_source = Discriminator(config.networks)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """The terms of both directions, summed."""
        source, target = (self._images(batches[name], generator) for name in ("source", "target"))
        forward = self._direction(source, target, self.to_target, self.to_source, self.discriminator_target)
        backward = self._direction(target, source, self.to_source, self.to_target, self.discriminator_source)
        return {name: forward[name] + backward[name] for name in forward}

    def _direction(
        self, images: Tensor, real: Tensor, translate: Translator, back: Translator, discriminator: Discriminator
    ) -> Terms:
        """One direction: least squares for discriminator and translator, L1 for cycle and identity.

        ``real`` are images of the domain that ``images`` are translated to.
        """
        with self.trainer.precision_plugin.forward_context():
            fake = translate(images)
            fooled, cycled, kept = _frozen(discriminator, fake), back(fake), translate(real)
            on_real, on_fake = discriminator(real), discriminator(fake.detach())
        return {
            "adversarial": (fooled.float() - 1).square().mean(),
            "cycle": (cycled.float() - images).abs().mean(),
            "identity": (kept.float() - real).abs().mean(),
            "discriminator": (on_real.float() - 1).square().mean() + on_fake.float().square().mean(),
        }

    def _images(self, batch: Observation, generator: Generator) -> Float[Tensor, "B 1 H W"]:
        return AugmentedViews.draw(batch, self.cube_m, self.config.augmentation, generator).complete.picture()

    def result(self) -> Translator:
        """The translator from source to target."""
        return self.to_target


@torch.inference_mode()
def translated(
    dataset: InMemoryDataset[LabelledBatch], translator: Translator, config: TranslationConfig, cube_m: float, seed: int
) -> InMemoryDataset[LabelledBatch]:
    """The dataset with a random ``translated_frac`` of its images translated; labels stay."""
    device, training = next(translator.parameters()).device, translator.training
    translator.eval()
    chosen = torch.rand(len(dataset), generator=generator_for(seed, 2)) < config.translated_frac
    samples = dataset.without_images()
    assert samples.depth_m is not None
    depth_m = samples.depth_m.clone()
    for index in chosen.nonzero()[:, 0].split(_INFERENCE_BATCH):
        views = CubeViews.of(samples.take(index).to(device), cube_m)
        image = translator(views.picture())[:, 0]  # depth in half cubes from the cube's centre
        z_m = views.centre_m[:, 2, None, None] + image.clamp_min(-1) * views.half_m[:, None, None]
        depth_m[index] = torch.where(image < config.background_threshold, z_m, 0).to(depth_m)
    translator.train(training)
    return dataset.map(lambda batch: replace(batch, depth_m=depth_m))


def _frozen(discriminator: Discriminator, images: Tensor) -> Tensor:
    """The discriminator's output, without gradients to its parameters."""
    parameters = {name: value.detach() for name, value in discriminator.named_parameters()}
    return functional_call(discriminator, parameters, (images,))
