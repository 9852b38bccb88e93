"""Finger lengths: shapes that change one finger each, on a mesh that stays a surface."""

import pytest
import torch
from torch import Tensor

from posebridge.bodies.anny import anny_hand
from posebridge.bodies.anny_loading import PHENOTYPES
from posebridge.bodies.hand_articulation import pose_hand
from posebridge.bodies.shape_distribution import HAND_POPULATION, sample_hand_shapes, sample_phenotypes
from posebridge.draw import generator_for
from posebridge.rendering.attributes import vertex_normals
from posebridge.skeletons.hand import FINGERS, HAND21
from posebridge.synthesis.depth_scene import DEPTH_DOMAINS
from posebridge.synthesis.hand_domains import HAND_DOMAINS
from posebridge.synthesis.hand_poses import gesture_angles

pytestmark = pytest.mark.usefixtures("one_thread")
DOMAINS = {**HAND_DOMAINS, **{f"depth-{name}": domain for name, domain in DEPTH_DOMAINS.items()}}


def shapes(fingers: Tensor) -> Tensor:
    """The mean adult with finger lengths in standard deviations."""
    adult = torch.tensor([[0.5, 2 / 3, 0.5, 0.5, 0.5, 0.5]])
    return torch.cat([adult.expand(len(fingers), -1), fingers], dim=1)


def finger_lengths_m(joints_m: Tensor) -> Tensor:
    """(B, 5) sums of phalanges, of the thumb from its MCP joint."""
    names = [[HAND21.index(f"{finger}_{k}") for k in (1, 2, 3, 4)] for finger in FINGERS]
    bones = joints_m[:, names].diff(dim=2).norm(dim=-1)
    bones[:, 0, 0] = 0
    return bones.sum(2)


def rest_joints_m(hand_shapes: Tensor) -> Tensor:
    hand = anny_hand("right")
    return hand.rig.shaped(hand.shape_coefficients(hand_shapes)).keypoints_m()


@pytest.mark.parametrize("finger", range(5))
def test_one_deviation_is_four_percent_of_one_finger(finger):
    joints_m = rest_joints_m(shapes(torch.stack([torch.zeros(5), torch.eye(5)[finger]])))
    mean, longer = finger_lengths_m(joints_m)
    torch.testing.assert_close(longer / mean, 1 + 0.04 * torch.eye(5)[finger], atol=5e-4, rtol=0)
    knuckles = [0, 1, 2, 5, 9, 13, 17]  # the palm and the thumb's first two joints stay
    torch.testing.assert_close(joints_m[1, knuckles], joints_m[0, knuckles], atol=2e-6, rtol=0)


def test_fingers_vary_as_those_of_people():
    """3 to 5% of a finger beside the palm, and about 3.3% of the ratio of two fingers; otherwise hardly."""
    sampled = sample_hand_shapes(HAND_POPULATION, 4000, generator_for(1, 1))
    own = sampled.clone()
    own[:, len(PHENOTYPES) :] = 0
    for hand_shapes, low, high in ((sampled, 0.028, 0.05), (own, 0.0, 0.005)):
        joints_m = rest_joints_m(hand_shapes)
        fingers_m, palm_m = finger_lengths_m(joints_m)[:, 1:], (joints_m[:, 9] - joints_m[:, 0]).norm(dim=-1)
        for ratio in (*(fingers_m / palm_m[:, None]).T, fingers_m[:, 0] / fingers_m[:, 2]):
            assert low <= (ratio.std() / ratio.mean()).item() < high


def test_extreme_fingers_leave_the_surface_smooth():
    """Of open hands and fists: normals hardly turn and faces hardly shrink, apart from folds between fingers."""
    hand, extreme = anny_hand("right"), torch.tensor([[0.0] * 5, [2.5] * 5, [-2.5] * 5, [2.5, -2.5, 2.5, -2.5, 2.5]])
    for gesture in ("open", "fist"):
        angles = gesture_angles((gesture,) * len(extreme))
        vertices_m = pose_hand(hand, angles, hand.shape_coefficients(shapes(extreme))).vertices_m()
        normals = vertex_normals(vertices_m, hand.rig.faces)
        cosine = (normals[1:] * normals[:1]).sum(-1)
        assert cosine.mean() > 0.995
        assert (cosine < 0.75).float().mean() < 0.005
        corners = vertices_m[:, hand.rig.faces]
        area = torch.linalg.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
        area = area.norm(dim=-1)
        assert (area[1:] / area[:1] < 0.5).float().mean() < 0.005


@pytest.mark.parametrize("name", DOMAINS)
def test_the_population_covers_the_renders(name):
    for field, limits in vars(HAND_POPULATION).items():
        own = getattr(DOMAINS[name].shapes, field)
        assert own in (False, True) if field == "finger_lengths" else limits[0] <= own[0] <= own[1] <= limits[1], field


def test_only_varied_domains_vary_fingers():
    """SynthShift's domains are frozen: their random numbers are those before there were finger lengths."""
    varying = {name for name, domain in DOMAINS.items() if domain.shapes.finger_lengths}
    assert varying == {"varied", "depth-varied"}
    street, (one, other) = DEPTH_DOMAINS["street"].shapes, (generator_for(3, 1) for _ in range(2))
    found, expected = sample_hand_shapes(street, 5, one), sample_phenotypes(street, 5, other)
    assert torch.equal(found, torch.cat([expected, torch.zeros(5, 5)], dim=1))
    assert torch.equal(torch.rand(3, generator=one), torch.rand(3, generator=other))


def test_sets_without_finger_lengths_have_the_mean():
    """Those that earlier versions rendered."""
    hand, hand_shapes = anny_hand("right"), shapes(torch.zeros(1, 5))
    assert torch.equal(hand.shape_coefficients(hand_shapes[:, :6]), hand.shape_coefficients(hand_shapes))
    with pytest.raises(ValueError, match="7 columns"):
        hand.shape_coefficients(hand_shapes[:, :7])
