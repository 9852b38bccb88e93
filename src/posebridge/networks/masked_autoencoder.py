"""The masked autoencoder (He et al., CVPR 2022) with the decoder of masked reconstruction: a single block."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from posebridge.errors import InputError
from posebridge.networks.vision_transformer import (
    ViTConfig,
    ViTEncoder,
    initialise,
    run_block,
    sine_cosine_positions,
    take_tokens,
)


@dataclass(frozen=True)
class AutoencoderConfig:
    """Defaults are the paper's encoder; it doesn't give the decoder's width, and these are MAE's."""

    vit: ViTConfig = field(default_factory=ViTConfig)
    decoder_width: int = 512
    decoder_heads: int = 16

    def __post_init__(self):
        if self.decoder_width % self.decoder_heads or self.decoder_width % 4:
            raise InputError(
                f"decoder width {self.decoder_width} is no multiple of 4 and of {self.decoder_heads} heads"
            )


class MaskedAutoencoder(nn.Module):
    """Predicts all patches of an image from some of them (Sec. 3.1 and Table 5)."""

    def __init__(self, config: AutoencoderConfig):
        """Raises ``InputError`` as ``ViTEncoder``."""
        super().__init__()
        self.config = config
        vit, width = config.vit, config.decoder_width
        self.encoder = ViTEncoder(vit)
        self.project = nn.Linear(vit.width, width)
        self.mask_token = nn.Parameter(torch.empty(width))
        self.block = Block(width, config.decoder_heads, vit.mlp_ratio, qkv_bias=True)
        self.norm = nn.LayerNorm(width)
        self.predict = nn.Linear(width, 3 * vit.patch_px**2)
        self.positions = nn.Buffer(sine_cosine_positions(width, vit.grid), persistent=False)
        nn.init.normal_(self.mask_token, std=0.02)
        for module in (self.project, self.block, self.predict):
            module.apply(initialise)

    def forward(self, images: Float[Tensor, "B 3 S S"], visible: Int[Tensor, "B n"]) -> Float[Tensor, "B N P"]:
        """Pixels of all patches as ``patchify`` orders them.

        Args:
            images: RGB in [0, 1].
            visible: the patches that the encoder takes. Their own predictions see them.
        """
        latent = self.project(self.encoder(take_tokens(self.encoder.tokens(images), visible)))
        patches = self.mask_token.to(latent.dtype).expand(len(images), self.config.vit.patches, -1)
        index = visible[..., None].expand(-1, -1, patches.shape[-1])
        patches = patches.scatter(1, index, latent[:, 1:])
        tokens = torch.cat([latent[:, :1], patches], dim=1) + self.positions
        return self.predict(self.norm(run_block(self.block, tokens)))[:, 1:]


def draw_visible(
    batch: int, patches: int, mask_ratio: float, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Int[Tensor, "B n"]:
    """Random visible patches of each image: all but a fraction ``mask_ratio`` of them, at least one."""
    kept = max(1, round(patches * (1 - mask_ratio)))
    return torch.rand(batch, patches, generator=generator).argsort(dim=1)[:, :kept].to(device)


def masked_patches(visible: Int[Tensor, "B n"], patches: int) -> Float[Tensor, "B N"]:
    """1 for patches that are not visible, else 0."""
    masked = torch.ones(len(visible), patches, device=visible.device)
    return masked.scatter(1, visible, 0.0)
