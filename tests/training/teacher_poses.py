"""Rendered poses as the predictions of a perfect teacher, valid or bent."""

import math

import torch
from torch import Tensor

from geometry.source_poses import source_poses
from posebridge.cameras.crop import flip_map
from posebridge.cameras.pinhole import Camera
from posebridge.geometry.joint_limits import JointLimits
from posebridge.methods.geometric_reconstruction.integrated_labels import IntegratedLabels, LabelIntegration
from posebridge.representations.pose25d import relative_depth
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.kinematics import kinematics_of
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.pseudo_labels import PseudoLabels

SIDE, MAP = 64, 16
MAPS = PoseMaps("softmax", sigma=1.0)
TIP = HAND21.index("index_4")


def integrated(skeleton: Skeleton = HAND21, dtype=torch.float32, **changes) -> IntegratedLabels:
    limits = JointLimits.from_poses(source_poses(skeleton.name), kinematics_of(skeleton), skeleton.reference)
    return IntegratedLabels(LabelIntegration(**changes), MAPS, skeleton, limits.to(dtype))


def true_poses(skeleton: Skeleton, count: int = 48) -> Tensor:
    """Rendered poses before the camera, every other one rotated in space; float64."""
    joints = source_poses(skeleton.name)[:count].double()
    generator = torch.Generator().manual_seed(0)
    R, _ = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=torch.float64))
    R = R * torch.linalg.det(R)[:, None, None]  # no mirror images
    joints = (joints - joints.mean(1, keepdim=True)) @ R.mT
    away = 5 * joints.abs().amax((1, 2))
    return joints + away[:, None, None] * torch.tensor([0.0, 0.0, 1.0])


def with_lengths(joints: Tensor, skeleton: Skeleton, lengths: Tensor) -> Tensor:
    """The same directions with bones of these lengths, over the reference bone's."""
    moved, (n, m) = joints.clone(), skeleton.reference
    one = (joints[:, n] - joints[:, m]).norm(dim=-1, keepdim=True)
    of_child = {child: lengths[i] for i, (_, child) in enumerate(skeleton.bones)}
    waiting = [skeleton.root]
    while waiting:
        parent = waiting.pop()
        for start, child in skeleton.bones:
            if start == parent:
                direction = torch.nn.functional.normalize(joints[:, child] - joints[:, parent], dim=-1)
                moved[:, child] = moved[:, parent] + of_child[child] * one * direction
                waiting.append(child)
    return moved


def camera(count: int, mirrored: bool = False, distorted: bool = False) -> Camera:
    K = torch.tensor([[110.0, 0, 31.5], [0, 110.0, 31.5], [0, 0, 1]], dtype=torch.float64).repeat(count, 1, 1)
    lens = torch.tensor([[-0.2, 0.1, 1e-3, -2e-3, 0.01]], dtype=torch.float64).repeat(count, 1)
    made = Camera(K, lens if distorted else None)
    return made.warped(flip_map(SIDE).double().repeat(count, 1, 1)) if mirrored else made


def seen_of(joints: Tensor, cameras: Camera, skeleton: Skeleton) -> PseudoLabels:
    """Predictions of a perfect teacher."""
    depth = relative_depth(joints, skeleton)
    return PseudoLabels(cameras.project(joints), depth, torch.ones_like(depth), torch.ones_like(depth).bool())


def bent_backwards(joints: Tensor, degrees: float = 90.0) -> Tensor:
    """The index finger's last bone bent towards the back of the hand."""
    index = {name: joints[:, HAND21.index(name)] for name in ("wrist", "index_1", "pinky_1", "index_3", "index_4")}
    # The cross product of little finger to thumb and wrist to knuckles points out of a right hand's palm.
    palm = torch.linalg.cross(index["index_1"] - index["pinky_1"], index["index_1"] - index["wrist"])
    along = torch.nn.functional.normalize(index["index_3"] - joints[:, HAND21.index("index_2")], dim=-1)
    back = torch.nn.functional.normalize(-palm + (palm * along).sum(-1, keepdim=True) * along, dim=-1)
    length = (index["index_4"] - index["index_3"]).norm(dim=-1, keepdim=True)
    angle = math.radians(degrees)
    bent = joints.clone()
    bent[:, TIP] = index["index_3"] + length * (math.cos(angle) * along + math.sin(angle) * back)
    return bent
