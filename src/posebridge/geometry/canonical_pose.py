"""Canonical pose and viewpoint: a 3D pose in the axes of its own palm or trunk, and the rotation that undoes it.

Sec. 4.3.3 of Yang's dissertation, 2022, after Zimmermann and Brox, ICCV 2017. Axes are those of ``root_axes``.
"""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.geometry.kinematics import Kinematics, root_axes, traversal_of


@dataclass(frozen=True)
class CanonicalPoses:
    """B poses as canonical poses and viewpoints: pose = viewpoint @ canonical, joint by joint."""

    canonical: Float[Tensor, "B J 3"]
    viewpoint: Float[Tensor, "B 3 3"]  # rotation from the canonical to the 3D pose
    determined: Bool[Tensor, "B"]  # False where joints span no axes; the viewpoint is then the identity


def canonical_poses(poses: Float[Tensor, "B J 3"], kinematics: Kinematics) -> CanonicalPoses:
    """Canonical poses and viewpoints of poses relative to their root, in the unit of the poses."""
    traversal = traversal_of(kinematics, poses.device)
    axes, determined = root_axes(poses.permute(2, 1, 0), traversal)
    R_root_camera = axes.permute(2, 0, 1)
    return CanonicalPoses(poses @ R_root_camera.transpose(1, 2), R_root_camera.transpose(1, 2), determined)


def posed(canonical: Float[Tensor, "B J 3"], viewpoint: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B J 3"]:
    """The 3D poses of canonical poses in a viewpoint."""
    return canonical @ viewpoint.transpose(1, 2)


def nearest_rotations(matrices: Float[Tensor, "B 9"]) -> Float[Tensor, "B 3 3"]:
    """The rotations with the least squared distance from decoded viewpoints, nine numbers row by row."""
    found = roma.special_procrustes(matrices.float().unflatten(1, (3, 3)))
    assert isinstance(found, Tensor)
    return found


def angles_between_deg(first: Float[Tensor, "B 3 3"], second: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B"]:
    """Angles of the rotations between two sets of rotations, in degrees from 0 to 180."""
    return torch.rad2deg(roma.rotmat_geodesic_distance(first, second))
