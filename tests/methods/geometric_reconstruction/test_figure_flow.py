"""The frame reconstructor moves the limbs of a figure with exact masks."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cameras.rotations import rotation_map
from methods.geometric_reconstruction.drawn_figures import SIDE, TO_BASE, FixedEstimator, figure, reconstructor
from posebridge.cameras.pinhole import apply_affine
from posebridge.geometry.displacement import identity_field
from posebridge.representations.bone_maps import distance_to_segments
from training.stick_figures import FIGURE, draw

pytestmark = pytest.mark.usefixtures("one_thread")


def inside(uv_px: Tensor, half_width_px: float = 0.9) -> Tensor:
    """Pixels well within a segment."""
    parents, children = (uv_px[:, list(ends)] for ends in zip(*FIGURE.bones, strict=True))
    return (distance_to_segments(parents, children, SIDE, SIDE) < half_width_px).any(1)[0]


def near_joints(uv_px: Tensor, radius_px: float) -> Tensor:
    grid = identity_field(SIDE, SIDE, uv_px)
    return ((grid[:, :, None] - uv_px[0]).norm(dim=-1) < radius_px).any(-1)


@pytest.mark.parametrize("side", [64, 52])
@pytest.mark.parametrize("stride", [1, 4])
def test_identical_pairs_have_the_identity_field(side, stride):
    uv, ground = figure(side=side)
    base = draw(uv, FIGURE, ground)
    drawn = reconstructor(estimator=FixedEstimator(), grid_stride=stride)(base, uv, uv, TO_BASE)
    size = side // stride
    assert drawn.field is not None
    torch.testing.assert_close(drawn.field[0], identity_field(size, size, uv), atol=2e-5, rtol=0)
    torch.testing.assert_close(drawn.image, base, atol=1e-4, rtol=0)


def test_identical_pairs_have_the_identity_field_for_any_masks():
    """With untrained masks, which blend all regions."""
    uv, ground = figure()
    drawn = reconstructor()(draw(uv, FIGURE, ground), uv, uv, TO_BASE)
    assert drawn.field is not None
    torch.testing.assert_close(drawn.field[0], identity_field(16, 16, uv), atol=2e-5, rtol=0)


def moved_figure(uv: Tensor, motion: str) -> Tensor:
    if motion == "shift":
        return uv + torch.tensor([6.0, -5.0])
    if motion == "shift by parts of a pixel":
        return uv + torch.tensor([2.3, 3.7])
    if motion == "arm":  # a hand rotated about the neck
        T = rotation_map(torch.tensor([0.9]), uv[:, 1])
        return torch.cat([uv[:, :3], apply_affine(T, uv[:, 3:4]), uv[:, 4:]], dim=1)
    degrees = float(motion.split()[1])
    return apply_affine(rotation_map(torch.tensor([math.radians(degrees)]), uv.mean(1)), uv)


@pytest.mark.parametrize(
    "motion", ["shift", "shift by parts of a pixel", "arm", "turn 20", "turn -90", "turn 135", "turn 180"]
)
def test_a_moved_figure_is_reconstructed_in_place(motion):
    """Colours match well within every limb, and on the background away from both figures."""
    uv, ground = figure()
    uv_driving = moved_figure(uv, motion)
    base, driving = (draw(pose, FIGURE, ground) for pose in (uv, uv_driving))
    drawn = reconstructor(estimator=FixedEstimator(math.exp(-3 / 4)), grid_stride=1, bone_sigma=2.0)(
        base, uv, uv_driving, TO_BASE
    )
    error = (drawn.image - driving).abs().amax(1)[0]
    limbs = inside(uv_driving) & ~near_joints(uv_driving, 5.0)
    away = ~(inside(uv, 5.0) | inside(uv_driving, 5.0))
    assert limbs.sum() > 30
    assert away.sum() > 1000
    assert error[limbs].max() < 0.12
    assert error[away].max() < 0.005  # the blurred outline of the figure
    copied = (base - driving).abs().amax(1)[0]
    assert copied[limbs].max() > 0.4  # or the comparison is void


@pytest.mark.parametrize("motion", ["shift", "turn 135"])
def test_coarser_grids_give_the_same_field(motion):
    uv, ground = figure()
    uv_driving = moved_figure(uv, motion)
    base = draw(uv, FIGURE, ground)
    fields = []
    for stride, sigma in ((1, 3.0), (4, 1.5)):  # the same width in pixels of the image
        drawn = reconstructor(estimator=FixedEstimator(), grid_stride=stride, bone_sigma=sigma)(
            base, uv, uv_driving, TO_BASE
        )
        assert drawn.field is not None
        fields.append((drawn.field + 0.5) * stride - 0.5)
    fine = F.avg_pool2d(fields[0].movedim(-1, 1), 4).movedim(1, -1)
    on_the_figure = F.avg_pool2d(inside(uv_driving).float()[None, None], 4)[0, 0] > 0.3
    difference_px = (fine - fields[1])[0].norm(dim=-1)[on_the_figure]
    assert difference_px.median() < 0.25
