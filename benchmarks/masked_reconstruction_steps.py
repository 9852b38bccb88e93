"""Time of masked reconstruction's steps: pretraining by mask ratio, and the attention rows in fine-tuning.

python benchmarks/masked_reconstruction_steps.py --threads 1
python benchmarks/masked_reconstruction_steps.py --preset full --device cuda --batch 64

Steps of one run are measured in alternation, on random images. Steps of pretraining have forward and backward pass and
the update. Attention is measured with rows of the class token, with the same passes and no rows, and with whole
attention matrices.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
import tyro
from jaxtyping import Float
from timm.layers.attention import Attention
from torch import Tensor, nn

from posebridge.draw import generator_for
from posebridge.losses.masked_reconstruction import attention_distance, patch_loss
from posebridge.methods.masked_reconstruction.config import MaskedReconstructionConfig
from posebridge.networks.masked_autoencoder import (
    AutoencoderConfig,
    MaskedAutoencoder,
    draw_visible,
    masked_patches,
)
from posebridge.networks.vision_transformer import ViTEncoder, patchify
from posebridge.presets.masked_reconstruction import METHOD
from posebridge.presets.table import find_preset
from posebridge.training.freed_memory import keep_freed_memory
from posebridge.training.options import Hardware

Seconds = Mapping[str, float]


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    preset: Literal["small", "full"] = "small"
    """small: depth 6, width 192, 64 patches; full: ViT-B/16 at 256 px."""

    batch: int = 64
    """Images of a step."""

    repeats: int = 4
    """Steps of each kind that are measured after one that is not; the fastest counts."""

    threads: int = 2
    """CPU threads."""

    device: str = "cpu"
    """cpu or cuda."""


def main(options: Options) -> str:
    """Markdown."""
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    config = find_preset("synthshift/hand-rgb", options.preset, METHOD).config_of(METHOD)
    assert isinstance(config, MaskedReconstructionConfig)
    torch.manual_seed(0)
    vit = config.model.network.vit
    autoencoder = MaskedAutoencoder(AutoencoderConfig(vit, config.decoder_width, config.decoder_heads))
    autoencoder.to(options.device)
    images = torch.rand(options.batch, 3, vit.size_px, vit.size_px, device=options.device)
    adam = torch.optim.AdamW(autoencoder.parameters(), fused=True)
    pretraining = _fastest(
        {ratio: _pretraining(autoencoder, adam, images, float(ratio)) for ratio in ("0.75", "0")}, options
    )
    attention = _fastest(_attention(autoencoder.encoder, images), options)
    saved = {name: _saved_mb(step) for name, step in _attention(autoencoder.encoder, images).items()}
    rows, alone, matrices = attention["rows"], attention["no rows"], attention["matrices"]
    return "\n".join(
        (
            f"{options.preset}, {options.batch} images, {options.threads} threads, {options.device}, "
            f"{Hardware().lightning_precision}",
            "",
            "| step | s | saved for the backward pass, MB |",
            "|---|---|---|",
            f"| pretraining, mask ratio 0.75 | {pretraining['0.75']:.3f} | |",
            f"| pretraining, mask ratio 0 | {pretraining['0']:.3f} | |",
            f"| two passes on target images, no rows | {alone:.3f} | {saved['no rows']:.0f} |",
            f"| the same with rows of the class token | {rows:.3f} | {saved['rows']:.0f} |",
            f"| the same with whole matrices | {matrices:.3f} | {saved['matrices']:.0f} |",
            "",
            f"Ratio 0 takes {pretraining['0'] / pretraining['0.75']:.2f} times as long as 0.75.",
        )
    )


def _pretraining(
    autoencoder: MaskedAutoencoder, adam: torch.optim.Optimizer, images: Tensor, ratio: float
) -> Callable[[], None]:
    """A step on all patches: the loss counts visible ones, too, so that ratio 0 has one."""
    vit = autoencoder.config.vit
    target, generator = patchify(images, vit.patch_px), generator_for(0, 1)

    def step() -> None:
        visible = draw_visible(len(images), vit.patches, ratio, generator, images.device)
        with _precision(images):
            predicted = autoencoder(images, visible)
        masked = masked_patches(visible, vit.patches)
        patch_loss(predicted.float(), target, torch.ones_like(masked), torch.ones_like(masked)).backward()
        adam.step()
        adam.zero_grad()

    return step


def _attention(encoder: ViTEncoder, images: Tensor) -> Mapping[str, Callable[[], None]]:
    """The pass of the frozen encoder and that of the trained one, by what is compared."""

    def compared(attention: Callable[[], Float[Tensor, "L B heads N"]]) -> Callable[[], None]:
        def step() -> None:
            with torch.no_grad(), _precision(images):
                reference = attention()
            with _precision(images):
                trained = attention()
            attention_distance(trained, reference + 1).mean().backward()
            encoder.zero_grad()

        return step

    def outputs() -> Tensor:
        return encoder(encoder.tokens(images))[:, 1:, 0][None, :, None]

    return {
        "rows": compared(lambda: encoder.class_attention(images)),
        "no rows": compared(outputs),
        "matrices": compared(lambda: _matrices(encoder, images)),
    }


def _matrices(encoder: ViTEncoder, images: Tensor) -> Float[Tensor, "L B heads N"]:
    """The same rows, taken from whole attention matrices that are computed beside the passes."""
    inputs: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        inputs.append(output)

    hooks = [block.norm1.register_forward_hook(keep) for block in encoder.blocks]
    encoder(encoder.tokens(images))
    for hook in hooks:
        hook.remove()
    rows = []
    for block, y in zip(encoder.blocks, inputs, strict=True):
        attention = cast(Attention, block.attn)
        query, key, _ = attention.qkv(y).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
        rows.append((query @ key.transpose(-1, -2) * attention.scale).float().softmax(-1)[:, :, 0, 1:])
    return torch.stack(rows)


def _precision(images: Tensor) -> torch.autocast:
    return torch.autocast(images.device.type, torch.bfloat16, enabled=Hardware().lightning_precision == "bf16-mixed")


def _fastest(steps: Mapping[str, Callable[[], None]], options: Options) -> Seconds:
    """Seconds of each, measured in alternation."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.repeats + 1):
        for name, step in steps.items():
            if options.device != "cpu":
                torch.cuda.synchronize()
            started = time.perf_counter()
            step()
            if options.device != "cpu":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - started)
    return {name: min(found[1:]) for name, found in times.items()}


def _saved_mb(step: Callable[[], None]) -> float:
    """Memory of the tensors that autograd keeps between the passes, each storage counted once."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return sum(storages.values()) / 2**20


if __name__ == "__main__":
    print(main(tyro.cli(Options)))
