"""Perturbed views: small shifts and rotations, and quarter turns, under which a prediction should not change.

SemiHand (Yang et al., ICCV 2021; Sec. 6.3.4 of Yang's dissertation, 2022); the dual-modality network has the same as
its weak views.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.draw import uniform
from posebridge.errors import InputError


@dataclass(frozen=True)
class PerturbationConfig:
    """Each view is a shift, a small rotation or a quarter turn, with the same probability."""

    translation: float = 5 / 64  # in [-t, t] of the side, in either direction
    rotation_deg: float = 2.0  # in [-r, r]
    quarter_turns: bool = True  # by 90, 180 or 270 degrees; False: shifts and small rotations alone

    def __post_init__(self):
        if not (0 <= self.translation < 0.5 and 0 <= self.rotation_deg < 45):
            raise InputError(
                f"perturbation of {self.translation} of the side and {self.rotation_deg} degrees is too large: "
                "give 0 <= translation < 0.5 and 0 <= rotation_deg < 45"
            )


def draw_perturbations(
    config: PerturbationConfig, batch: int, size_px: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Float[Tensor, "B 3 3"]:
    """T_view_crop of ``batch`` square crops: a rotation about the image's centre, or a translation.

    ``generator`` lives on the CPU, so that views are the same on every device.
    """
    kind = torch.randint(3 if config.quarter_turns else 2, (batch,), generator=generator)
    shift_px = uniform(generator, -config.translation, config.translation, batch, 2) * size_px
    angle = torch.deg2rad(uniform(generator, -config.rotation_deg, config.rotation_deg, batch))
    turns = torch.randint(1, 4, (batch,), generator=generator)
    cos, sin = angle.cos() * (kind == 1) + (kind == 0), angle.sin() * (kind == 1)
    # Exact numbers: a quarter turn moves pixels onto pixels.
    cos = torch.where(kind == 2, torch.tensor([1.0, 0.0, -1.0, 0.0])[turns], cos)
    sin = torch.where(kind == 2, torch.tensor([0.0, 1.0, 0.0, -1.0])[turns], sin)
    T_view_crop = torch.eye(3).repeat(batch, 1, 1)
    T_view_crop[:, :2, :2] = torch.stack([cos, -sin, sin, cos], dim=1).unflatten(1, (2, 2))
    centre = torch.full((2,), (size_px - 1) / 2)
    T_view_crop[:, :2, 2] = centre - T_view_crop[:, :2, :2] @ centre + shift_px * (kind == 0)[:, None]
    return T_view_crop.to(device)
