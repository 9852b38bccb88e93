"""Time of a training step of each network with channels first and with channels last in memory.

python benchmarks/memory_format.py --threads 1

A step is forward and backward, in the precision that training uses on this machine. Networks are those of the preset
``small`` with random weights. Pose networks use channels last, the others channels first.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor, nn

from posebridge.deployment.model_kinds import POSE
from posebridge.deployment.model_spec import PoseSpec
from posebridge.geometry.displacement import identity_field
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.multi_view_fusion.config import MultiViewFusionConfig
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.networks.reconstruction import Generator
from posebridge.networks.translation import Discriminator, Translator, TranslatorConfig
from posebridge.presets.table import find_preset
from posebridge.training.options import Hardware


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    repeats: int = 10
    """Repeats of each measurement; the fastest counts."""

    threads: int = 1
    """CPU threads."""

    device: str = "cpu"
    """Device of the networks: cpu or cuda."""

    batch: int = 32
    """Images of a step."""


_COLOUR = find_preset("synthshift/hand-rgb", "small", "geometric-reconstruction")


class _Reconstruction(nn.Module):
    """The generator of geometric reconstruction, which displaces nothing here."""

    def __init__(self):
        super().__init__()
        config = _COLOUR.config_of("geometric-reconstruction")
        assert isinstance(config, GeometricReconstructionConfig)
        assert config.reconstruction is not None
        self.generator = Generator(config.reconstruction.reconstructor.generator)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        field = identity_field(height, width, images).expand(len(images), -1, -1, -1)
        return self.generator(images, field, torch.ones_like(images[:, :1]))


def _pose_network() -> PoseResNet:
    assert isinstance(_COLOUR.model, PoseSpec)
    return POSE.build(_COLOUR.model)


def _translation() -> TranslatorConfig:
    config = find_preset("synthshift/hand-depth", "small", "multi-view-fusion").config_of("multi-view-fusion")
    assert isinstance(config, MultiViewFusionConfig)
    return config.translation.networks


@dataclass(frozen=True)
class Case:
    """A row: a network, and the images that it takes."""

    network: Callable[[], nn.Module]
    channels: int
    side_px: int


CASES = {
    "pose network, 64 px": Case(_pose_network, 3, 64),
    "pose network, 128 px": Case(_pose_network, 3, 128),
    "generator of frames, 64 px": Case(_Reconstruction, 3, 64),
    "translator, 128 px": Case(lambda: Translator(_translation()), 1, 128),
    "discriminator, 128 px": Case(lambda: Discriminator(_translation()), 1, 128),
}
FORMATS = {"first": torch.contiguous_format, "last": torch.channels_last}


def table(options: Options) -> str:
    """Markdown: milliseconds of the fastest repeat. Repeats of the two formats alternate."""
    torch.set_num_threads(options.threads)
    bf16 = Hardware().lightning_precision == "bf16-mixed"
    lines = ["| step, ms | channels first | channels last | ratio |", "|---|---|---|---|"]
    for name, case in CASES.items():
        torch.manual_seed(0)
        images = torch.rand(options.batch, case.channels, case.side_px, case.side_px, device=options.device)
        modules = {kind: case.network().to(options.device).to(memory_format=layout) for kind, layout in FORMATS.items()}
        fastest = dict.fromkeys(FORMATS, float("inf"))
        for _ in range(options.repeats + 1):
            for kind, module in modules.items():
                fastest[kind] = min(fastest[kind], _seconds(module, images, bf16))
        first, last = 1000 * fastest["first"], 1000 * fastest["last"]
        lines.append(f"| {name} | {first:.0f} | {last:.0f} | {first / last:.2f} |")
    precision = "bf16" if bf16 else "32 bits"
    return f"{options.batch} images, {options.threads} threads, {precision}\n\n" + "\n".join(lines)


def _seconds(module: nn.Module, images: Tensor, bf16: bool) -> float:
    started = time.perf_counter()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        output = module(images)
    torch.stack(
        [part.float().square().mean() for part in (output if isinstance(output, tuple) else (output,))]
    ).sum().backward()
    if images.device.type != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(table(tyro.cli(Options)))
