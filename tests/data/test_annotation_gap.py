"""A simulated annotation gap: the places of joints, and the residual gap of predictions."""

import math

import pytest
import torch

from posebridge.data.annotation_gap import gap_joints, residual_gap, with_gap
from posebridge.errors import InputError
from posebridge.skeletons.body import COCO17, H36M17
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.domains import find_domain
from posebridge.synthesis.stream import Samples

TRACKS = {HAND21.name: ("hand-rgb", HAND21), H36M17.name: ("body-rgb", H36M17)}


@pytest.fixture(scope="module", params=TRACKS)
def rendered(request):
    track, skeleton = TRACKS[request.param]
    return Samples(find_domain(track, "studio"), 48, seed=1).samples(0, 8), skeleton


def test_joints_move_towards_their_neighbours(rendered):
    batch, skeleton = rendered
    moved = with_gap(batch, skeleton, 0.25)
    for name, towards in ((skeleton.joints[j], skeleton.joints[t]) for j, t in zip(*gap_joints(skeleton), strict=True)):
        j, t = skeleton.index(name), skeleton.index(towards)
        torch.testing.assert_close(moved.joints_m[:, j], 0.75 * batch.joints_m[:, j] + 0.25 * batch.joints_m[:, t])
        # A straight line in space is a straight line in the image.
        a, b = (values - batch.uv_px[:, j] for values in (batch.uv_px[:, t], moved.uv_px[:, j]))
        assert (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs().max() < 0.01 * (1 + a.norm(dim=-1).max())
    rest = [k for k in range(len(skeleton)) if k not in gap_joints(skeleton)[0]]
    assert torch.equal(moved.uv_px[:, rest], batch.uv_px[:, rest])
    assert torch.equal(moved.rgb, batch.rgb)


@pytest.mark.parametrize("factor", [0.0, 0.2, 0.5])
def test_residual_gap_is_the_simulated_one(rendered, factor):
    batch, skeleton = rendered
    kept = with_gap(batch, skeleton, factor).uv_px
    assert residual_gap(kept, batch.uv_px, skeleton, batch.rgb.shape[-1]) == pytest.approx(
        factor, abs=0.02
    )  # but for perspective


def test_joints_taken_for_others_are_left_out(rendered):
    """Two thirds of the frames with the joints far on the other side of their neighbours, as when sides are swapped."""
    batch, skeleton = rendered
    joints, towards = gap_joints(skeleton)
    kept = with_gap(batch, skeleton, 0.2).uv_px
    swapped = torch.arange(len(kept)) % 3 > 0
    rows = swapped.nonzero()
    kept[rows, joints] = 2 * batch.uv_px[rows, towards] - batch.uv_px[rows, joints]
    assert residual_gap(kept, batch.uv_px, skeleton, batch.rgb.shape[-1]) == pytest.approx(0.2, abs=0.02)
    kept[:, joints] += 1000
    assert math.isnan(residual_gap(kept, batch.uv_px, skeleton, batch.rgb.shape[-1]))


def test_skeleton_without_a_gap(rendered):
    with pytest.raises(InputError, match="coco17 has no annotation gap"):
        gap_joints(COCO17)
