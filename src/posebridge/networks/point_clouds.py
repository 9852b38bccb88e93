"""Point clouds to Gaussians of a latent space, and latent vectors to point clouds.

ResPEL: Li and Lee, *Point-to-Pose Voting*, CVPR 2019. FoldingNet: Yang et al., CVPR 2018. Both as Sec. 5.4.2 of Yang's
dissertation, 2022, has them.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.errors import InputError
from posebridge.networks.latent_coders import GaussianHead
from posebridge.representations.gaussian import Gaussian


@dataclass(frozen=True)
class CloudCoderConfig:
    """Encoder and decoder of clouds. Widths are not given in the dissertation.

    The encoder doubles its width in each block, up to twice the number of points: 512 for 256 points. The dissertation
    halves the widths of ResPEL, so blocks end at half of that.
    """

    points: int = 256  # of a cloud, a square number: the decoder folds a square grid
    encoder_widths: tuple[int, ...] = (32, 64, 128, 256)  # of the residual blocks
    hidden: int = 256  # of the fully connected layer before mean and variance
    folding_width: int = 512  # of the decoder's hidden layers, as in FoldingNet

    def __post_init__(self):
        if self.points < 4 or round(self.points**0.5) ** 2 != self.points:
            raise InputError(
                f"clouds of {self.points} points can't be folded from a square grid: choose 64, 144 or 256"
            )


class EquivariantLayer(nn.Module):
    """A linear layer of each point, plus one of the maximum over all points (Zaheer et al., NeurIPS 2017).

    The second one learns to subtract pooled features or to add them. Permuted points give permuted features.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.of_point = nn.Linear(inputs, outputs, bias=False)
        self.of_maximum = nn.Linear(inputs, outputs, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, features: Float[Tensor, "B N C"]) -> Float[Tensor, "B N D"]:
        """Features of all points, normalised over points and batch."""
        mixed = self.of_point(features) + self.of_maximum(features.amax(dim=1, keepdim=True))
        return self.norm(mixed.flatten(0, 1)).view_as(mixed)


class ResidualBlock(nn.Module):
    """Two equivariant layers beside a linear shortcut."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = EquivariantLayer(inputs, outputs)
        self.second = EquivariantLayer(outputs, outputs)
        self.shortcut = nn.Linear(inputs, outputs, bias=False)

    def forward(self, features: Float[Tensor, "B N C"]) -> Float[Tensor, "B N D"]:
        """Features of all points."""
        return (self.shortcut(features) + self.second(self.first(features).relu())).relu()


class CloudFeatures(nn.Module):
    """ResPEL: residual equivariant blocks, and the maximum over all points."""

    def __init__(self, config: CloudCoderConfig):
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(a, b) for a, b in pairwise((3, *config.encoder_widths))))
        self.channels = config.encoder_widths[-1]

    def forward(self, clouds: Float[Tensor, "B N 3"]) -> Float[Tensor, "B C"]:
        """Features of whole clouds, the same for any order of their points."""
        return self.blocks(clouds).amax(dim=1)


class CloudEncoder(nn.Module):
    """Point clouds to Gaussians: features of ResPEL, and two fully connected layers."""

    def __init__(self, config: CloudCoderConfig, latent: int):
        super().__init__()
        self.features = CloudFeatures(config)
        self.head = GaussianHead(self.features.channels, config.hidden, latent)

    def forward(self, clouds: Float[Tensor, "B N 3"]) -> Gaussian:
        """Gaussians of clouds."""
        return self.head(self.features(clouds))


class _Folding(nn.Module):
    """Moves each point by the latent vector: three fully connected layers, the same for all points.

    The first layer multiplies latent vectors and points separately, so latent vectors aren't repeated for each point.
    """

    def __init__(self, latent: int, inputs: int, width: int):
        super().__init__()
        self.of_latent = nn.Linear(latent, width)
        self.of_point = nn.Linear(inputs, width, bias=False)
        self.rest = nn.Sequential(
            nn.ReLU(inplace=True), nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, 3)
        )

    def forward(self, latent: Float[Tensor, "B D"], points: Float[Tensor, "B N C"]) -> Float[Tensor, "B N 3"]:
        return self.rest(self.of_latent(latent)[:, None] + self.of_point(points))


class CloudDecoder(nn.Module):
    """FoldingNet: a square grid is folded to a surface, and that surface once more."""

    def __init__(self, config: CloudCoderConfig, latent: int):
        super().__init__()
        self.first = _Folding(latent, 2, config.folding_width)
        self.second = _Folding(latent, 3, config.folding_width)
        along = torch.linspace(-1, 1, round(config.points**0.5))
        self.register_buffer("grid", torch.cartesian_prod(along, along)[None], persistent=False)

    def forward(self, latent: Float[Tensor, "B D"]) -> Float[Tensor, "B N 3"]:
        """Clouds of as many points as the grid has."""
        grid: Tensor = self.get_buffer("grid")
        return self.second(latent, self.first(latent, grid.expand(len(latent), -1, -1)))
