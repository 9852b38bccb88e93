"""Style transfer between the domains: a trained AdaIN, or Fourier amplitudes, which need no training."""

from collections.abc import Callable
from collections.abc import Generator as YieldsStages
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from posebridge.contracts.batch import Observation
from posebridge.networks.adain import StyleTransfer, StyleTransferConfig
from posebridge.networks.vgg import VggConfig, VggEncoder
from posebridge.representations.fourier_style import colour_style, fourier_style
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.run import SelectionPlan
from posebridge.training.stage import Stage, Terms

# (content, style, generator) -> content in the style; RGB in [0, 1]
Restyler = Callable[[Float[Tensor, "B 3 H W"], Float[Tensor, "B 3 H W"], Generator], Float[Tensor, "B 3 H W"]]


def restyle_randomly(
    restyler: Restyler | None, images: Tensor, style: Tensor, probability: float, generator: Generator
) -> Tensor:
    """The images, each restyled with the given probability after a random image of ``style``."""
    if restyler is None or probability == 0:
        return images
    chosen = torch.rand(len(images), generator=generator) < probability
    if not chosen.any():
        return images
    partner = torch.randint(len(style), (int(chosen.sum()),), generator=generator)
    chosen, partner = chosen.to(images.device), partner.to(images.device)
    restyled = images.clone()
    restyled[chosen] = restyler(images[chosen], style[partner], generator)
    return restyled


@dataclass(frozen=True)
class FourierStyle:
    """Low-frequency amplitudes and colour statistics of the style, each by a random interpolation factor."""

    beta: float = 0.05  # half-width of the frequency window, as a fraction of the spectrum's side
    colour: bool = True  # colour statistics as well

    def feature_networks(self) -> tuple[VggConfig, ...]:
        """None: amplitudes need no network."""
        return ()

    def with_feature_weights(self, weights: str) -> "FourierStyle":
        """The same style, which needs no weights."""
        return self

    def restyler(self) -> Restyler:
        """The transfer; its interpolation factors are uniform in [0, 1]."""

        @torch.no_grad()
        def restyle(content: Tensor, style: Tensor, generator: Generator) -> Tensor:
            factors = torch.rand(2, len(content), generator=generator).to(content)
            with torch.autocast(content.device.type, enabled=False):  # which rounds matrix products
                restyled = fourier_style(content, style, self.beta, factors[0])
                return colour_style(restyled, style, factors[1]) if self.colour else restyled

        return restyle


@dataclass(frozen=True)
class AdaINStyle:
    """AdaIN (Huang & Belongie, ICCV 2017). Defaults are UniFrame's: Adam with rate 1e-5, batches of 16."""

    encoder: VggConfig = field(default_factory=VggConfig)
    network: StyleTransferConfig = field(default_factory=lambda: StyleTransferConfig(reduction=2))
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=500_000, learning_rate=1e-5, decay="none"))
    batch_size: int = 16

    def feature_networks(self) -> tuple[VggConfig, ...]:
        """The VGG whose features are transferred."""
        return (self.encoder,)

    def with_feature_weights(self, weights: str) -> "AdaINStyle | FourierStyle":
        """The style with other weights of the VGG: "timm", a file, or "none", for Fourier amplitudes instead."""
        return FourierStyle() if weights == "none" else replace(self, encoder=replace(self.encoder, pretrained=weights))


class StyleTraining(Stage):
    """Trains AdaIN's decoder on source images in the target's style, and target images in the source's."""

    name = "style"

    def __init__(self, config: AdaINStyle, context: Context):
        size = config.batch_size
        streams = {"source": context.source.batches(size), "target": context.target_frames.batches(size)}
        super().__init__(config.schedule, streams, config.network.weights, **context.stage_options(2))
        torch.manual_seed(context.seed)  # of initial weights
        self.transfer = StyleTransfer(VggEncoder(config.encoder), config.network)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Content and style losses; each image takes the style of an image of the other domain."""
        source, target = batches["source"].rgb, batches["target"].rgb
        losses = self.transfer.losses(torch.cat([source, target]), torch.cat([target, source]))
        return {name: values.mean() for name, values in losses.items()}

    def trained_parameters(self):
        """Those of the decoder; the encoder is frozen."""
        return self.transfer.decoder.parameters()

    def result(self) -> nn.Module:
        """Encoder and decoder."""
        return self.transfer

    def restyler(self) -> Restyler:
        """The trained transfer; its interpolation factor is uniform in [0, 1]."""
        transfer = self.transfer.eval()

        @torch.no_grad()
        def restyle(content: Tensor, style: Tensor, generator: Generator) -> Tensor:
            factor = torch.rand(len(content), generator=generator).to(content)
            transfer.to(content.device)
            return transfer.transfer(content, style, factor)

        return restyle


def train_style(
    style: AdaINStyle | FourierStyle | None, context: Context
) -> YieldsStages[tuple[Stage, SelectionPlan | None], None, Restyler | None]:
    """Style training where the style needs it; returns the restyling function. For ``yield from``."""
    if isinstance(style, AdaINStyle):
        stage = StyleTraining(style, context)
        yield stage, None
        return stage.restyler()
    return None if style is None else style.restyler()
