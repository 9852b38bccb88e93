"""Canonical poses and viewpoints of hands that are turned by known rotations."""

import pytest
import roma
import torch
from scipy.spatial.transform import Rotation

from posebridge.geometry.canonical_pose import angles_between_deg, canonical_poses, nearest_rotations, posed
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.kinematics import kinematics_of

KINEMATICS = kinematics_of(HAND21)


def hands(count: int) -> torch.Tensor:
    """Open hands with noise: fingers along y, the thumb's side along x, relative to the wrist."""
    generator = torch.Generator().manual_seed(0)
    pose = torch.zeros(21, 3)
    for finger in range(5):
        for segment in range(4):
            pose[1 + 4 * finger + segment] = torch.tensor([0.5 - 0.25 * finger, 0.8 + 0.3 * segment, 0.0])
    return pose + 0.05 * torch.randn(count, 21, 3, generator=generator) * (torch.arange(21) > 0)[:, None]


def turns(count: int) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(count, random_state=3).as_matrix()).float()


def test_a_turn_of_the_pose_turns_the_viewpoint_alone():
    poses, R = hands(20), turns(20)
    still, turned = canonical_poses(poses, KINEMATICS), canonical_poses(poses @ R.transpose(1, 2), KINEMATICS)
    assert turned.determined.all()
    torch.testing.assert_close(turned.canonical, still.canonical, atol=1e-5, rtol=0)
    torch.testing.assert_close(turned.viewpoint, R @ still.viewpoint, atol=1e-5, rtol=0)


def test_both_together_are_the_pose():
    poses = hands(5) @ turns(5).transpose(1, 2)
    found = canonical_poses(poses, KINEMATICS)
    torch.testing.assert_close(posed(found.canonical, found.viewpoint), poses, atol=1e-5, rtol=0)
    assert torch.linalg.det(found.viewpoint) == pytest.approx(torch.ones(5), abs=1e-5)


def test_canonical_knuckles_lie_along_the_second_axis():
    found = canonical_poses(hands(5) @ turns(5).transpose(1, 2), KINEMATICS).canonical
    knuckles = found[:, [HAND21.index(f"{name}_1") for name in ("index", "middle", "ring", "pinky")]].mean(1)
    torch.testing.assert_close(knuckles[:, [0, 2]], torch.zeros(5, 2), atol=1e-5, rtol=0)
    assert (knuckles[:, 1] > 0).all()


def test_a_point_has_no_viewpoint():
    found = canonical_poses(torch.zeros(2, 21, 3), KINEMATICS)
    assert not found.determined.any()
    torch.testing.assert_close(found.viewpoint, torch.eye(3).expand(2, 3, 3))


def test_decoded_viewpoints_become_the_nearest_rotation():
    """No rotation of a thousand others is nearer."""
    matrices = turns(1) + 0.3 * torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(5))
    nearest = nearest_rotations(matrices.flatten(1))
    others = (turns(1000) - matrices).square().sum(dim=(1, 2))
    assert (nearest - matrices).square().sum() <= others.min()
    torch.testing.assert_close(nearest @ nearest.transpose(1, 2), torch.eye(3)[None], atol=1e-5, rtol=0)


def test_angles_are_scipys():
    first, second = turns(8), turns(16)[8:]
    expected = (Rotation.from_matrix(first.numpy()).inv() * Rotation.from_matrix(second.numpy())).magnitude()
    assert torch.deg2rad(angles_between_deg(first, second)).numpy() == pytest.approx(expected, abs=1e-3)
    assert roma.is_rotation_matrix(first, epsilon=1e-4)
