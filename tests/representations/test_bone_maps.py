"""Bone maps against analytic distances, and their transforms against known motions of the poses."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from posebridge.geometry.displacement import affine_fields, blend_fields, identity_field, sample_features
from posebridge.representations.bone_maps import BoneMaps, bone_transforms, distance_to_segments, draw_bones

pytestmark = pytest.mark.usefixtures("one_thread")
ONE = ((0, 1),)
CHAIN = ((0, 1), (1, 2), (0, 3))
SIDE, SIGMA = 64, 1.5
MIDDLE = (31.7, 30.9)


def bone(length: float, angle: float, middle: tuple[float, float] = MIDDLE, dtype=torch.float64) -> Tensor:
    """One pose (1, 2, 2) of one bone."""
    half = torch.tensor([math.cos(angle), math.sin(angle)], dtype=dtype) * length / 2
    centre = torch.tensor(middle, dtype=dtype)
    return torch.stack([centre - half, centre + half])[None]


def turn(angle: float) -> Tensor:
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)


def drawn(joints: Tensor, side: int = SIDE, bones=ONE) -> BoneMaps:
    return draw_bones(joints, bones, side, side, SIGMA)


def field_between(base: Tensor, driving: Tensor, bones=ONE) -> tuple[Tensor, BoneMaps]:
    """The coarse fields (1, J, H, W, 2) from the driving to the base pose, and bones of the driving pose."""
    of = drawn(driving, bones=bones)
    return affine_fields(*bone_transforms(drawn(base, bones=bones), of), SIDE, SIDE), of


def off_by(base: Tensor, driving: Tensor, expected: Tensor, threshold: float = 0.3) -> float:
    """The largest error of the field, in pixels, where the bone's map is above ``threshold``."""
    coarse, of = field_between(base, driving)
    return float((coarse[0, 0] - expected).norm(dim=-1)[of.maps[0, 0] > threshold].max())


def poses(count: int, seed: int, low: float = 12.0, high: float = 50.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(count, 4, 2, generator=generator, dtype=torch.float64)


def distances(start: np.ndarray, end: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixel by pixel, by cases: beside the segment the distance to its line, beyond it that to the nearer end."""
    found = np.zeros((height, width))
    length = np.linalg.norm(end - start)
    for v in range(height):
        for u in range(width):
            p = np.array([u, v])
            beside = length > 0 and 0 <= (p - start) @ (end - start) <= length**2
            to_ends = min(np.linalg.norm(p - start), np.linalg.norm(p - end))
            (eu, ev), (du, dv) = end - start, p - start
            found[v, u] = abs(eu * dv - ev * du) / length if beside else to_ends
    return found


def test_distances_against_a_loop():
    joints = poses(3, 0, -4.0, 14.0)
    joints[2, 1] = joints[2, 0]  # a point
    found = distance_to_segments(joints[:, [0]], joints[:, [1]], 9, 12)
    for i in range(3):
        expected = distances(joints[i, 0].numpy(), joints[i, 1].numpy(), 9, 12)
        np.testing.assert_allclose(found[i, 0].numpy(), expected, atol=1e-3)  # it is rounded off within 0.001 px


def test_a_map_is_one_on_the_bone_and_falls_with_the_distance():
    joints = torch.tensor([[[10.0, 20.0], [30.0, 20.0]]], dtype=torch.float64)
    maps = drawn(joints).maps[0, 0]
    assert maps[20, 10:31].tolist() == pytest.approx([1.0] * 21, abs=1e-6)
    for d in (1, 2, 5):
        expected = math.exp(-d / SIGMA**2)
        for v, u in ((20 + d, 10), (20 - d, 22), (20, 30 + d), (20, 10 - d), (20, 30 + d)):
            assert float(maps[v, u]) == pytest.approx(expected, abs=5e-4)
    assert float(maps[24, 33]) == pytest.approx(math.exp(-5 / SIGMA**2), abs=5e-4)  # 3, 4, 5 from the end
    wide = draw_bones(joints, ONE, SIDE, SIDE, 3.0).maps[0, 0]
    assert float(wide[29, 20]) == pytest.approx(math.exp(-1), abs=5e-4)  # 1/e at a distance of sigma squared


def test_middles_and_directions_of_bones():
    joints = poses(2, 1)
    bones = drawn(joints, bones=CHAIN)
    torch.testing.assert_close(bones.centre[:, 1], (joints[:, 1] + joints[:, 2]) / 2)
    torch.testing.assert_close(bones.direction[:, 2], joints[:, 3] - joints[:, 0])
    assert bones.maps.shape == (2, 3, SIDE, SIDE)
    assert bones.moments.shape == (2, 3, 2, 2)


def test_bones_are_drawn_independently():
    joints = poses(2, 2)
    other = joints.clone()
    other[:, [2, 3]] = poses(2, 3)[:, [2, 3]]
    one, two = drawn(joints, bones=CHAIN), drawn(other, bones=CHAIN)
    assert torch.equal(one.maps[:, 0], two.maps[:, 0])
    assert torch.equal(one.moments[:, 0], two.moments[:, 0])
    assert (one.maps[:, 1] != two.maps[:, 1]).any()
    order = torch.tensor([3, 1, 0, 2])  # old places of the new joints
    renamed = drawn(joints[:, order], bones=[(2, 1), (1, 3), (2, 0)])
    assert torch.equal(renamed.maps, one.maps)
    turned = drawn(joints, bones=[(1, 0)])  # the same line in the opposite direction
    torch.testing.assert_close(turned.maps[:, 0], one.maps[:, 0])
    torch.testing.assert_close(turned.direction[:, 0], -one.direction[:, 0])


@pytest.mark.parametrize(("side", "length", "sigma", "tip"), [(32, 5.0, 1.2, 0.80), (64, 13.0, 1.5, 0.93)])
def test_pixels_at_a_joint_follow_it_along_its_bone(side, length, sigma, tip):
    """A child is moved along its bone: by how much the pixels at both ends move, on grids of 64 and 256 px images."""
    base = bone(length, 0.0, (side / 2, side / 2))
    driving = base.clone()
    driving[0, 1, 0] += 0.01
    of, onto = (draw_bones(pose, ONE, side, side, sigma) for pose in (base, driving))
    A, t = bone_transforms(onto, of)
    moved = [(A[0, 0] @ base[0, end] + t[0, 0] - base[0, end])[0].item() / 0.01 for end in (0, 1)]
    assert moved == pytest.approx([1 - tip, tip], abs=0.02)


def test_an_identical_pose_is_the_identity():
    joints = poses(50, 4, -10.0, 80.0)
    joints[:10, 1] = joints[:10, 0]
    A, t = bone_transforms(drawn(joints, bones=CHAIN), drawn(joints, bones=CHAIN))
    coarse = affine_fields(A, t, SIDE, SIDE)
    expected = identity_field(SIDE, SIDE, joints).expand_as(coarse)
    assert (coarse - expected).abs().max() < 1e-6


@pytest.mark.parametrize("shift", [(3.0, 0.0), (-4.0, 7.0), (0.5, 0.25), (-1.3, 2.7)])
@pytest.mark.parametrize("length", [3.0, 12.0])
def test_a_shifted_pose_is_a_shifted_field(shift, length):
    base = bone(length, 0.3)
    moved = torch.tensor(shift).double()
    expected = identity_field(SIDE, SIDE, base) - moved
    # Shifts by whole pixels keep all sums except at the map's border; fractions of a pixel do not.
    assert off_by(base, base + moved, expected) < 0.02


@pytest.mark.parametrize("shift", [(3.0, 0.0), (-4.0, 7.0)])
def test_warp_by_a_shifted_pose_shifts_the_image(shift):
    picture = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).double()
    base = bone(12.0, 0.3)
    coarse, of = field_between(base, base + torch.tensor(shift).double())
    found = sample_features(picture, coarse[:, 0])[0]
    matrix = np.array([[1.0, 0, shift[0]], [0, 1, shift[1]]])
    expected = cv2.warpAffine(picture[0].permute(1, 2, 0).numpy(), matrix, (SIDE, SIDE))
    on_the_bone = of.maps[0, 0] > 0.3
    error = (found.permute(1, 2, 0) - torch.from_numpy(expected)).abs()[on_the_bone]
    assert error.max() < 0.02


@pytest.mark.parametrize("length", [3.0, 12.0])
def test_rotated_bones_rotate_their_field(length):
    """Over the whole circle, without a jump by half a turn."""
    base, before = bone(length, 0.3), None
    middle = torch.tensor(MIDDLE).double()
    grid = identity_field(SIDE, SIDE, base)
    for degrees in range(-180, 181, 5):
        angle = math.radians(degrees)
        expected = (grid - middle) @ turn(-angle).T + middle
        assert off_by(base, bone(length, 0.3 + angle), expected) < 0.03, degrees
        coarse, of = field_between(base, bone(length, 0.3 + angle))
        if before is not None:
            moved = (coarse - before)[0, 0].norm(dim=-1)[of.maps[0, 0] > 0.3]
            assert moved.max() < 1.1 * math.radians(5) * (length / 2 + 3), degrees
        before = coarse


@pytest.mark.parametrize(("length", "along"), [(12.0, 1.4327), (24.0, 1.4812), (5.0, 1.2653)])
def test_longer_bones_stretch_along_themselves(length, along):
    """Bones 1.5 times as long: by sqrt((1.5^2 L^2 / 12 + s^2) / (L^2 / 12 + s^2)) along them, and not across."""
    A, _ = bone_transforms(drawn(bone(1.5 * length, 0.3)), drawn(bone(length, 0.3)))
    in_the_bone = turn(0.3).T @ A[0, 0] @ turn(0.3)
    assert float(in_the_bone[0, 0]) == pytest.approx(along, abs=0.001)
    assert float(in_the_bone[1, 1]) == pytest.approx(1.0)
    assert in_the_bone.flatten()[1:3].abs().max() < 1e-9


def scene(joints: Tensor, base: Tensor, picture: Tensor) -> Tensor:
    """The whole chain from joints of the driving pose to a loss on the sampled image, with all bones and background."""
    side = picture.shape[-1]
    of, onto = (draw_bones(pose, CHAIN, side, side, SIGMA) for pose in (joints, base))
    A, t = bone_transforms(onto, of)
    logits = torch.cat([torch.zeros_like(of.maps[:, :1]), (2 * of.maps).clamp_min(1e-4).log()], dim=1)
    still = torch.eye(2).to(A).expand(len(A), 1, 2, 2), torch.zeros_like(t[:, :1])
    coarse = affine_fields(torch.cat([still[0], A], 1), torch.cat([still[1], t], 1), side, side)
    return sample_features(picture, blend_fields(logits.softmax(1), coarse)).square().mean((1, 2, 3))


def smooth_picture(side: int, count: int = 1, dtype=torch.float64) -> Tensor:
    u, v = identity_field(side, side, torch.zeros((), dtype=dtype)).unbind(-1)
    return torch.stack([torch.sin(0.9 * u + 0.2 * v), torch.cos(0.5 * u - 0.8 * v)]).expand(count, -1, -1, -1)


CASES = {
    "apart": [[4.1, 3.3], [8.2, 5.9], [11.7, 9.4], [5.2, 11.6]],
    "a bone of no length": [[4.1, 3.3], [4.1, 3.3], [11.7, 9.4], [5.2, 11.6]],
    "all in one place": [[6.3, 7.4], [6.3, 7.4], [6.3, 7.4], [6.3, 7.4]],
    "on the border": [[-0.5, 3.3], [15.5, 5.9], [11.7, -0.5], [5.2, 15.5]],
    "off the map": [[-4.0, 3.3], [-7.5, 5.9], [21.7, 9.4], [25.2, 21.6]],
    "axis-parallel": [[3.2, 5.3], [9.2, 5.3], [9.2, 12.3], [3.2, 1.3]],
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("against", ["another pose", "the same pose, moved"])
def test_gradients_of_the_whole_chain_by_central_differences(case, against):
    joints = torch.tensor([CASES[case]], dtype=torch.float64)
    # A shift that is not zero, as bilinear sampling has kinks at pixel centres.
    base = (
        joints + 0.31 if against.startswith("the same") else torch.tensor([CASES["apart"]], dtype=torch.float64) + 1.37
    )
    picture = smooth_picture(16)
    joints.requires_grad_()
    (gradient,) = torch.autograd.grad(scene(joints, base, picture).sum(), joints)
    step = 1e-7 if "place" in case or "no length" in case else 1e-5  # there it is rounded off within 0.001 px
    found = torch.zeros(8, dtype=torch.float64)
    with torch.no_grad():
        for i, direction in enumerate(torch.eye(8, dtype=torch.float64).view(8, 1, 4, 2)):
            after, before = (scene(joints + sign * step * direction, base, picture) for sign in (1, -1))
            found[i] = ((after - before) / (2 * step)).item()
    assert gradient.norm() > 1e-8
    assert (gradient.flatten() - found).norm() <= 1e-4 * gradient.norm()


def test_gradients_of_each_part_of_the_chain():
    joints, base = (torch.tensor([CASES["apart"]], dtype=torch.float64) + shift for shift in (0, 0.83))
    joints.requires_grad_()

    def transforms(driving: Tensor) -> tuple[Tensor, Tensor]:
        return bone_transforms(*(draw_bones(pose, CHAIN, 12, 12, SIGMA) for pose in (base, driving)))

    assert gradcheck(lambda uv: draw_bones(uv, CHAIN, 6, 6, SIGMA).maps, (joints,))
    assert gradcheck(lambda uv: draw_bones(uv, CHAIN, 12, 12, SIGMA).moments, (joints,))
    assert gradcheck(transforms, (joints,), atol=1e-4)


def test_ends_of_a_bone_of_no_length_have_equal_gradients():
    """By central differences with a step away from zero length: each end has half of the mean's gradient."""
    joints = torch.tensor([[[5.3, 6.1], [5.3, 6.1]]], dtype=torch.float64, requires_grad=True)

    def mean_u(uv: Tensor) -> Tensor:
        maps = draw_bones(uv, ONE, 13, 13, SIGMA).maps[0, 0]
        return (maps.sum(0) * torch.arange(13)).sum() / maps.sum()

    (gradient,) = torch.autograd.grad(mean_u(joints), joints)
    assert gradient[0, 0, 0] == pytest.approx(float(gradient[0, 1, 0]))
    step = torch.tensor([[[0.0, 0.0], [0.01, 0.0]]])
    slope = (mean_u(joints.detach() + step) - mean_u(joints.detach() - step)) / 0.02
    assert float(gradient[0, 1, 0]) == pytest.approx(float(slope), rel=0.02)


def strange_poses(count: int, side: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Pairs of poses: joints may coincide, lie on the border or far off, and both poses may be equal."""
    generator = torch.Generator().manual_seed(7)
    uv = (side + 4) * torch.rand(2, count, 4, 2, generator=generator, dtype=torch.float64) - 2.5
    kind = torch.randint(8, (2, count, 1, 1), generator=generator)
    far = 10 ** (4 * torch.rand(2, count, 4, 1, generator=generator)) * torch.randn(2, count, 4, 2, generator=generator)
    uv = torch.where(kind == 1, uv[:, :, :1], uv)  # all joints in one place
    uv = torch.where(kind == 2, torch.cat([uv[:, :, :1], uv[:, :, :3]], dim=2), uv)  # two of them
    uv = torch.where(kind == 3, uv + far, uv)
    uv = torch.where(kind == 4, uv.round().clamp(0, side - 1), uv)  # on pixels' middles
    uv = torch.where(kind == 5, uv.clamp(-0.5, 0.0) + (side - 0.5) * (uv > side / 2), uv)  # on the border
    uv = torch.where(kind == 6, uv * torch.tensor([1.0, 0.0]).double() + 3, uv)  # on a line
    equal = torch.arange(count) % 5 == 0
    uv[1, equal] = uv[0, equal]
    half_turns = torch.arange(count) % 7 == 0
    uv[1, half_turns, :2] = uv[0, half_turns, :2].flip(1)
    return uv[0].to(dtype), uv[1].to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_broken_poses_give_finite_fields(dtype):
    side = 12
    base, driving = strange_poses(10_000, side, dtype)
    for onto, of in zip(base.split(500), driving.split(500), strict=True):
        poses = [onto.requires_grad_(), of.requires_grad_()]
        bones = [draw_bones(uv, CHAIN, side, side, SIGMA) for uv in poses]
        A, t = bone_transforms(*bones)
        loss = scene(of, onto, smooth_picture(side, len(of), dtype)).sum()
        gradients = torch.autograd.grad(loss + A.sum() + t.sum() + bones[0].moments.sum(), poses)
        for value in (A, t, loss, *gradients):
            assert value.isfinite().all()
        assert gradients[1].abs().amax((1, 2)).count_nonzero() > 0.95 * len(of)
