"""The mask of a hand as 55 circles, whose centres follow the 2D pose (SemiHand, Sec. 6.3.3 of Yang's dissertation).

The dissertation gives nine circles for each finger and ten for the palm, and learns their radii from synthetic masks.
"""

from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.bodies.collision_spheres import between, finger_rows
from posebridge.geometry.circles import covered_fraction, pixel_centres, union_distance
from posebridge.skeletons.hand import FINGERS, HAND21

_KNUCKLES = tuple(HAND21.index(f"{finger}_1") for finger in FINGERS)
_PALM_PAIRS = tuple(combinations((HAND21.root, *_KNUCKLES), 2))
_ALONG_METACARPALS = (0.25, 0.7)  # places of the palm's circles between wrist and knuckle
_INITIAL_RADIUS = 0.16  # in units of the palm's size


@dataclass(frozen=True)
class HandCircles:
    """Circles of B hands, in pixels of an image of ``image_px``."""

    centres: Float[Tensor, "B 55 2"]
    radii: Float[Tensor, "B 55"]
    image_px: int

    def distance(self, side: int) -> Float[Tensor, "B side side"]:
        """Signed distance in pixels of the image from the centres of side x side cells to the union of circles."""
        points = pixel_centres(side, self.image_px, self.centres.device).to(self.centres)
        return union_distance(self.centres, self.radii, points).unflatten(1, (side, side))

    def covered(self, distance: Float[Tensor, "B side side"]) -> Float[Tensor, "B side side"]:
        """The covered fraction of each cell, R(G(uv)) of Eq. 6.12, from the result of ``distance``."""
        return covered_fraction(distance, self.image_px / distance.shape[-1])


class CircleHand(nn.Module):
    """G of Eq. 6.12: the circles of a 2D pose.

    A radius is a learnt factor times the size of the palm, the root mean square of the distances among wrist and
    knuckles in the image. They form a plate, some side of which shows from every direction.
    """

    weights: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("weights", circle_weights())
        self.log_radius = nn.Parameter(torch.full((len(self.weights),), _INITIAL_RADIUS).log())

    def forward(self, uv: Float[Tensor, "B 21 2"], image_px: int) -> HandCircles:
        """The circles, in pixels of the image as the joints are."""
        return HandCircles(self.weights @ uv, self.log_radius.exp() * palm_size(uv)[:, None], image_px)


def circle_weights() -> Float[Tensor, "55 21"]:
    """Weights of the joints for the circles' centres: nine along each finger, two along each metacarpal."""
    rows = [row for finger in FINGERS for row in finger_rows(finger)]
    rows += [between(HAND21.root, knuckle, place) for knuckle in _KNUCKLES for place in _ALONG_METACARPALS]
    return torch.stack(rows)


def palm_size(uv: Float[Tensor, "B 21 2"]) -> Float[Tensor, "B"]:
    """Root mean square of the distances among wrist and knuckles; its gradient is zero where they coincide."""
    first, second = torch.tensor(_PALM_PAIRS, device=uv.device).T
    return torch.linalg.vector_norm((uv[:, first] - uv[:, second]).flatten(1), dim=1) / len(_PALM_PAIRS) ** 0.5
