"""Channels first or last in memory: what each network gains. Pose networks keep them last, the others first.

python benchmarks/memory_format.py --threads 1

A step is forward and backward in the precision that training takes on this machine. Networks are those of the size
``small``, with new weights.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor, nn

from posebridge.geometry.displacement import identity_field
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.networks.reconstruction import Generator
from posebridge.networks.translation import Discriminator, Translator
from posebridge.recipes import depth_fusion, hand_rgb
from posebridge.training.options import Hardware


@dataclass(frozen=True)
class Options:
    """What is timed."""

    repeats: int = 10
    threads: int = 1
    device: str = "cpu"
    batch: int = 32


class _Redrawing(nn.Module):
    """A generator that carries nothing along."""

    def __init__(self):
        super().__init__()
        reconstruction = hand_rgb.SMALL_GEOMETRIC_RECONSTRUCTION.reconstruction
        assert reconstruction is not None
        self.generator = Generator(reconstruction.reconstructor.generator)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        field = identity_field(height, width, images).expand(len(images), -1, -1, -1)
        return self.generator(images, field, torch.ones_like(images[:, :1]))


_TRANSLATOR = depth_fusion.SMALL.translation.networks
_POSE = hand_rgb.SMALL.network
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {  # and channels and sides of the pictures
    "pose network, 64 px": (lambda: PoseResNet(_POSE), (3, 64)),
    "pose network, 128 px": (lambda: PoseResNet(_POSE), (3, 128)),
    "redrawing, 64 px": (_Redrawing, (3, 64)),
    "translator, 128 px": (lambda: Translator(_TRANSLATOR), (1, 128)),
    "judge, 128 px": (lambda: Discriminator(_TRANSLATOR), (1, 128)),
}
FORMATS = {"first": torch.contiguous_format, "last": torch.channels_last}


def table(options: Options) -> str:
    """Markdown; milliseconds, the least of all repeats, which take turns."""
    torch.set_num_threads(options.threads)
    half = Hardware().lightning_precision == "bf16-mixed"
    lines = ["| step, ms | channels first | channels last | ratio |", "|---|---|---|---|"]
    for name, (network, (channels, side)) in CASES.items():
        torch.manual_seed(0)
        images = torch.rand(options.batch, channels, side, side, device=options.device)
        modules = {kind: network().to(options.device).to(memory_format=layout) for kind, layout in FORMATS.items()}
        least = dict.fromkeys(FORMATS, float("inf"))
        for _ in range(options.repeats + 1):
            for kind, module in modules.items():
                least[kind] = min(least[kind], _seconds(module, images, half))
        first, last = 1000 * least["first"], 1000 * least["last"]
        lines.append(f"| {name} | {first:.0f} | {last:.0f} | {first / last:.2f} |")
    precision = "bf16" if half else "32 bits"
    return f"{options.batch} pictures, {options.threads} threads, {precision}\n\n" + "\n".join(lines)


def _seconds(module: nn.Module, images: Tensor, half: bool) -> float:
    started = time.perf_counter()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
        found = module(images)
    torch.stack(
        [part.float().square().mean() for part in (found if isinstance(found, tuple) else (found,))]
    ).sum().backward()
    if images.device.type != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(table(tyro.cli(Options)))
