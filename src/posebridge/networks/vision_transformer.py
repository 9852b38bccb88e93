"""The vision transformer (Dosovitskiy et al., ICLR 2021) as masked autoencoders use it (He et al., CVPR 2022).

It takes any subset of an image's patches, and returns the attention of the class token where it is requested.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import cast

import timm
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from posebridge.errors import InputError, last_line
from posebridge.networks.encoder_decoder import Normalisation
from posebridge.networks.encoders import download

# timm's public masked autoencoders by (patch_px, width, depth, heads).
_PUBLIC: Mapping[tuple[int, int, int, int], str] = {
    (16, 768, 12, 12): "vit_base_patch16_224.mae",
    (16, 1024, 24, 16): "vit_large_patch16_224.mae",
    (14, 1280, 32, 16): "vit_huge_patch14_224.mae",
}
_PREFIXES = ("encoder.vit.", "vit.")  # of our own files: of masked autoencoders and pose networks, of encoders


@dataclass(frozen=True)
class ViTConfig:
    """Defaults are ViT-B/16 at 256 px, the paper's encoder. Raises ``InputError`` for sizes that don't fit."""

    size_px: int = 256  # side of the image
    patch_px: int = 16  # side of a patch
    width: int = 768
    depth: int = 12  # transformer blocks
    heads: int = 12
    mlp_ratio: float = 4.0
    pretrained: str = "none"  # "none", "timm" (download of a public masked autoencoder), or the path of a weights file
    normalisation: Normalisation = field(default_factory=Normalisation)  # of the images

    def __post_init__(self):
        if self.patch_px < 1 or self.size_px < self.patch_px or self.size_px % self.patch_px:
            raise InputError(
                f"images of {self.size_px} px can't be cut into patches of {self.patch_px} px: give a size that is a "
                "multiple of the patch"
            )
        if self.width % self.heads:
            raise InputError(f"width {self.width} is no multiple of {self.heads} heads")
        if self.width % 4:
            raise InputError(f"width {self.width} is no multiple of 4, which sine-cosine positions need")

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.size_px // self.patch_px

    @property
    def patches(self) -> int:
        """N, the number of patches of an image."""
        return self.grid**2


class ViTEncoder(nn.Module):
    """Patch tokens, a class token, and pre-norm transformer blocks, with fixed sine-cosine positions."""

    def __init__(self, config: ViTConfig):
        """Raises ``InputError`` for weights that can't be loaded."""
        super().__init__()
        self.config = config
        self.vit = VisionTransformer(
            img_size=config.size_px,
            patch_size=config.patch_px,
            embed_dim=config.width,
            depth=config.depth,
            num_heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            num_classes=0,
            global_pool="",
        )
        self.vit.apply(initialise)
        nn.init.xavier_uniform_(self.vit.patch_embed.proj.weight.flatten(1))
        nn.init.normal_(self._class_token, std=0.02)
        positions = self.vit.pos_embed
        assert positions is not None
        positions.requires_grad_(False).copy_(sine_cosine_positions(config.width, config.grid))
        if config.pretrained != "none":
            _load(self.vit, config)

    @property
    def _class_token(self) -> nn.Parameter:
        return cast(nn.Parameter, self.vit.cls_token)

    @property
    def blocks(self) -> Iterator[Block]:
        """The transformer blocks in order."""
        return (cast(Block, block) for block in self.vit.blocks)

    def tokens(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N D"]:
        """A token for each patch, row by row, with its position. Raises ``InputError`` for images of another size."""
        side = self.config.size_px
        if images.shape[-2:] != (side, side):
            raise InputError(f"the network takes images of {side} px, and these have {tuple(images.shape[-2:])}")
        embedded = self.vit.patch_embed(self.config.normalisation(images))
        return embedded + self._positions[:, 1:]

    @property
    def _positions(self) -> Float[Tensor, "1 M D"]:
        return cast(Tensor, self.vit.pos_embed)

    def forward(
        self, tokens: Float[Tensor, "B n D"], attention: list[Tensor] | None = None
    ) -> Float[Tensor, "B 1+n D"]:
        """The last block's output after its norm, the class token first (Eq. 1).

        Args:
            tokens: all patch tokens of an image, or some of them.
            attention: each block appends its row of the class token (``class_row``), where a list is given.
        """
        # Not len(tokens), which would fix the number of images of an exported graph.
        class_token = (self._class_token + self._positions[:, :1]).expand(tokens.shape[0], -1, -1)
        x = torch.cat([class_token.to(tokens.dtype), tokens], dim=1)
        for block in self.blocks:
            x = run_block(block, x, attention)
        return self.vit.norm(x)

    def encode(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N D"]:
        """Features of all patches, row by row."""
        return self(self.tokens(images))[:, 1:]

    def class_attention(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "L B heads N"]:
        """Attention of the class token to each patch in each of L blocks, without its attention to itself.

        Its attention to itself and to the patches sums to one.
        """
        rows: list[Tensor] = []
        self(self.tokens(images), rows)
        return torch.stack(rows)


def run_block(
    block: Block, tokens: Float[Tensor, "B M D"], attention: list[Tensor] | None = None
) -> Float[Tensor, "B M D"]:
    """The output of a pre-norm block (Eq. 1), whose row of the class token is appended to ``attention`` if given."""
    y = block.norm1(tokens)
    if attention is not None:
        attention.append(class_row(block, y))
    tokens = tokens + _attend(cast(Attention, block.attn), y)
    return tokens + block.mlp(block.norm2(tokens))


def _attend(attention: Attention, tokens: Float[Tensor, "B M D"]) -> Float[Tensor, "B M D"]:
    """The output of an attention layer."""
    if tokens.device.type != "cpu":
        return attention(tokens)
    # On a CPU, the backward pass of PyTorch's fused attention takes half of a step in bfloat16.
    query, key, value = attention.qkv(tokens).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    mixed = ((query * attention.scale) @ key.transpose(-2, -1)).softmax(-1) @ value
    return attention.proj(mixed.transpose(1, 2).flatten(2))


def class_row(block: Block, tokens: Float[Tensor, "B M D"]) -> Float[Tensor, "B heads n"]:
    """The class token's row of a block's attention matrix without its first entry; ``tokens`` after the block's norm.

    The query is multiplied by the weights of the keys, instead of computing the keys: a row costs heads n D instead of
    n D^2 operations. The bias of the keys adds the same to all entries, so the softmax ignores it.
    """
    attention = cast(Attention, block.attn)
    batch, _, width = tokens.shape
    heads = attention.num_heads
    weight, bias = attention.qkv.weight, attention.qkv.bias
    query = nn.functional.linear(tokens[:, 0], weight[:width], bias[:width]).view(batch, heads, -1)
    keys = weight[width : 2 * width].view(heads, -1, width)
    by_token = torch.einsum("bhd,hdc->bhc", query, keys)
    logits = torch.einsum("bhc,bnc->bhn", by_token, tokens) * attention.scale
    return logits.float().softmax(-1)[..., 1:]


def initialise(module: nn.Module) -> None:
    """Initial weights of linear layers and norms as in masked autoencoders: Xavier's, uniform; biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def sine_cosine_positions(width: int, grid: int) -> Float[Tensor, "M D"]:
    """Fixed positions of a class token, all zero, and of grid x grid patches, row by row.

    A quarter of the channels has sines of the column, the next cosines, the rest the same of the row, at frequencies
    10000^(-i / quarter).
    """
    quarter = width // 4
    frequency = torch.exp(-math.log(10_000) * torch.arange(quarter, dtype=torch.float64) / quarter)
    angle = torch.arange(grid, dtype=torch.float64)[:, None] * frequency
    along = torch.cat([angle.sin(), angle.cos()], dim=1)
    columns, rows = along[None].expand(grid, -1, -1), along[:, None].expand(-1, grid, -1)
    patches = torch.cat([columns, rows], dim=-1).flatten(0, 1)
    return torch.cat([patches.new_zeros(1, width), patches]).float()


def patchify(images: Float[Tensor, "B C S S"], patch_px: int) -> Float[Tensor, "B N P"]:
    """The pixels of each patch: patches row by row, in each the pixels row by row, in each the channels."""
    batch, channels, height, width = images.shape
    rows, columns = height // patch_px, width // patch_px
    cut = images.reshape(batch, channels, rows, patch_px, columns, patch_px)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)


def unpatchify(patches: Float[Tensor, "B N P"], patch_px: int) -> Float[Tensor, "B C S S"]:
    """Square images from their patches; the inverse of ``patchify``."""
    batch, count, _ = patches.shape
    side = math.isqrt(count)
    joined = patches.reshape(batch, side, side, patch_px, patch_px, -1)
    return joined.permute(0, 5, 1, 3, 2, 4).reshape(batch, -1, side * patch_px, side * patch_px)


def take_tokens(tokens: Float[Tensor, "B N D"], index: Int[Tensor, "B n"]) -> Float[Tensor, "B n D"]:
    """The tokens at the given positions of each image."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))


def _load(vit: VisionTransformer, config: ViTConfig) -> None:
    """Load weights of timm's names from the hub or from a file. Positions of another grid are interpolated."""
    stored = _public_weights(config) if config.pretrained == "timm" else _weights_of(Path(config.pretrained))
    shapes = f"width {config.width}, depth {config.depth}, patches of {config.patch_px} px"
    try:
        fitted = checkpoint_filter_fn(dict(stored), vit)
        missing, _ = vit.load_state_dict(fitted, strict=False)
    except (RuntimeError, KeyError, ValueError, AssertionError) as error:
        cause = last_line(error)
        raise InputError(
            f"pretrained={config.pretrained} can't be read as a transformer of {shapes}: {cause}"
        ) from error
    if missing:
        raise InputError(f"pretrained={config.pretrained} has no {missing[0]}: it isn't a transformer of {shapes}")


def _public_weights(config: ViTConfig) -> Mapping[str, Tensor]:
    name = _PUBLIC.get((config.patch_px, config.width, config.depth, config.heads))
    if name is None:
        raise InputError("no public masked autoencoder has this size: give a weights file, or pretrained=none")
    return download(name, num_classes=0).state_dict()


def _weights_of(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file under timm's names: of a public checkpoint, or of a stage or model of ours."""
    if not path.is_file():
        raise InputError(f"pretrained={path}: no such file; give 'none', 'timm' or a weights file")
    try:
        stored = timm.models.load_state_dict(str(path))
    except (OSError, EOFError, RuntimeError, ValueError, LookupError, UnpicklingError, SafetensorError) as error:
        raise InputError(f"pretrained={path} can't be read as weights: {last_line(error)}") from error
    for prefix in _PREFIXES:
        own = {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}
        if own:
            return own
    return stored
