"""Rendered depth in the look of a target: CycleGAN on unpaired pictures (Zhu et al., ICCV 2017; Ren et al., 3.4)."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.func import functional_call

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.cube_views import CubeViews
from posebridge.data.in_memory import InMemoryDataset
from posebridge.draw import generator_for
from posebridge.methods.multi_view_fusion.depth_views import DepthViewConfig, DrawnViews
from posebridge.networks.translation import Discriminator, Translator, TranslatorConfig
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.stage import Stage, Terms

_PART = 64


@dataclass(frozen=True)
class TranslationConfig:
    """Numbers are CycleGAN's."""

    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=20_000, learning_rate=2e-4, decay="cosine", momentum=0.5)
    )
    networks: TranslatorConfig = field(default_factory=TranslatorConfig)
    pictures: int = 4  # of either look in a batch
    cycle_weight: float = 10.0
    identity_weight: float = 5.0
    augmentation: DepthViewConfig = field(default_factory=DepthViewConfig)
    share: float = 0.5  # of the source's pictures, those that are translated
    background: float = 0.95  # of the half cube: what a translated picture has behind it is no surface


class Translation(Stage):
    """Both directions and their judges, which learn at once: what a judge says is fixed to the translator."""

    name = "translation"

    def __init__(self, config: TranslationConfig, context: Context):
        """Raises ``ValueError`` for a context without a target or a cube."""
        if context.cube_m is None:
            raise ValueError("a stage on depth needs a context with the side of the crops' cube")
        streams = {
            "source": context.source.view_sets(config.pictures, 1),
            "target": context.target_frames.view_sets(config.pictures, 1),
        }
        weights = {"fooling": 1.0, "cycle": config.cycle_weight, "identity": config.identity_weight, "judging": 1.0}
        super().__init__(config.schedule, streams, weights, **context.stage_options(0))
        self.config, self.cube_m = config, context.cube_m
        torch.manual_seed(context.seed)
        self.to_target, self.to_source = Translator(config.networks), Translator(config.networks)
        self.of_target, self.of_source = Discriminator(config.networks), Discriminator(config.networks)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Both ways together."""
        source, target = (self._pictures(batches[name], generator) for name in ("source", "target"))
        there = self._one_way(source, target, self.to_target, self.to_source, self.of_target)
        back = self._one_way(target, source, self.to_source, self.to_target, self.of_source)
        return {name: there[name] + back[name] for name in there}

    def _one_way(
        self, picture: Tensor, wanted: Tensor, translate: Translator, back: Translator, judge: Discriminator
    ) -> Terms:
        """Least squares for the judge and for whoever fools it, L1 for what comes back and for what should stay.

        ``wanted`` holds pictures of the look that ``picture`` is translated to.
        """
        with self.trainer.precision_plugin.forward_context():
            made = translate(picture)
            fooled, returned, kept = _told_by(judge, made), back(made), translate(wanted)
            true, false = judge(wanted), judge(made.detach())
        return {
            "fooling": (fooled.float() - 1).square().mean(),
            "cycle": (returned.float() - picture).abs().mean(),
            "identity": (kept.float() - wanted).abs().mean(),
            "judging": (true.float() - 1).square().mean() + false.float().square().mean(),
        }

    def _pictures(self, batch: Observation, generator: Generator) -> Float[Tensor, "B 1 H W"]:
        return DrawnViews.of(batch, self.cube_m, self.config.augmentation, generator).whole.picture()

    def result(self) -> Translator:
        """From the source's look to the target's."""
        return self.to_target


@torch.inference_mode()
def translated(
    dataset: InMemoryDataset[LabelledBatch], translator: Translator, config: TranslationConfig, cube_m: float, seed: int
) -> InMemoryDataset[LabelledBatch]:
    """A source of which a ``share`` of the pictures has the target's look. Labels stay."""
    device, training = next(translator.parameters()).device, translator.training
    translator.eval()
    chosen = torch.rand(len(dataset), generator=generator_for(seed, 2)) < config.share
    whole = dataset.without_images()
    assert whole.depth_m is not None
    depth_m = whole.depth_m.clone()
    for place in chosen.nonzero()[:, 0].split(_PART):
        views = CubeViews.of(whole.take(place).to(device), cube_m)
        picture = translator(views.picture())[:, 0]
        z_m = views.centre_m[:, 2, None, None] + picture.clamp_min(-1) * views.half_m[:, None, None]
        depth_m[place] = torch.where(picture < config.background, z_m, 0).to(depth_m)
    translator.train(training)
    return dataset.map(lambda batch: replace(batch, depth_m=depth_m))


def _told_by(judge: Discriminator, picture: Tensor) -> Tensor:
    """What the judge says, learning nothing from it."""
    return functional_call(judge, {name: value.detach() for name, value in judge.named_parameters()}, (picture,))
