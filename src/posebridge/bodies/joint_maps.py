"""Linear maps from a hand's joints and mesh to the joints of public datasets (Ren et al., CVPR 2022, Sec. 4.1)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from posebridge.bodies.hand_model import HandModel
from posebridge.errors import InputError
from posebridge.skeletons.dataset_joints import dataset_joints, joint_weights
from posebridge.skeletons.hand import FINGERS, HAND21
from posebridge.skeletons.skeleton import Skeleton

_MAX_RESIDUAL_M = 1e-4  # by which the skin around a finger's end may miss a point inside it


@dataclass(frozen=True)
class JointMap:
    """K joints of a skeleton in a hand of V vertices with the joints of ``HAND21``.

    Moving, rotating, scaling or mirroring the hand does the same to the K joints.
    """

    skeleton: Skeleton
    joint_weights: Float[Tensor, "K 21"]  # rows sum to one
    vertex_weights: Float[Tensor, "K V"]  # rows sum to zero: the vector from a joint on the skin to its place within

    def __call__(self, joints: Float[Tensor, "B 21 3"], vertices: Float[Tensor, "B V 3"]) -> Float[Tensor, "B K 3"]:
        """The K joints of B posed hands, in the unit and frame of their joints and vertices.

        ``joints`` may be others than the mesh's own, such as those of a pixel-wise head. The offsets are then the
        mesh's.
        """
        return self.joint_weights.to(joints) @ joints + self.vertex_weights.to(vertices) @ vertices

    def confidence(self, confidence: Float[Tensor, "B 21"]) -> Float[Tensor, "B K"]:
        """The mean confidence of the joints that each of the K joints is made of."""
        shares = F.normalize(self.joint_weights.abs(), p=1, dim=1)
        return confidence @ shares.to(confidence).T


def joint_map(model: HandModel, skeleton: Skeleton) -> JointMap:
    """The map of a hand model, from landmarks on its rest mesh.

    Raises ``InputError`` for a skeleton without an entry in ``DATASET_JOINTS``, and for a mesh without closed finger
    ends.
    """
    vertex_weights = model.rig.vertices_m.new_zeros(len(skeleton), len(model.rig.vertices_m))
    for finger, depth in dataset_joints(skeleton).tip_depths.items():
        vertex_weights[skeleton.index(f"{finger}_4")] = _tip_offset(model, finger, depth)
    return JointMap(skeleton, torch.from_numpy(joint_weights(skeleton)).float(), vertex_weights)


def _tip_offset(model: HandModel, finger: str, depth: float) -> Float[Tensor, "V"]:
    """Weights of the vector from ``HAND21``'s tip to the finger's axis, ``depth`` hand lengths from its end."""
    rig = model.rig
    keypoints = rig.keypoints_of(rig.heads_m[None], rig.vertices_m[None])[0]
    length_m = torch.linalg.norm(keypoints[HAND21.index("middle_1")] - keypoints[HAND21.index("wrist")])
    bone = rig.bones.index(f"finger{FINGERS.index(finger) + 1}-3")
    skin = (rig.weights.argmax(1) == bone).nonzero()[:, 0]
    axes = _finger_axes(model, bone, keypoints[HAND21.index(f"{finger}_4")])
    along, *across = ((rig.vertices_m[skin] - rig.heads_m[bone]) @ axes).unbind(1)
    # The middle of the slice of skin around that depth: nails and the density of the mesh do not move it.
    end, depth_m = along.max(), depth * length_m
    around = (along - (end - depth_m)).abs() < 0.5 * depth_m
    if not around.any():
        raise _no_skin(finger)
    middle = [0.5 * (side[around].min() + side[around].max()) for side in across]
    place = rig.heads_m[bone] + axes @ torch.stack([end - depth_m, *middle])
    weights = torch.zeros(len(rig.vertices_m))
    near = skin[along > end - 3 * depth_m]
    weights[near] = _affine_weights(rig.vertices_m[near], place, finger)
    tip = HAND21.index(f"{finger}_4")
    return weights.index_add(0, rig.keypoint_index[tip] - len(rig.bones), -rig.keypoint_weight[tip])


def _finger_axes(model: HandModel, bone: int, tip_m: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """Along a finger's last bone, across it, and out of its back or palm: columns of a rotation."""
    along = F.normalize(tip_m - model.rig.heads_m[bone], dim=0)
    flexion = model.flexion_axes[bone]
    across = F.normalize(flexion - (flexion @ along) * along, dim=0)
    return torch.stack([along, across, torch.linalg.cross(along, across)], dim=1)


def _affine_weights(vertices_m: Float[Tensor, "n 3"], point_m: Float[Tensor, "3"], finger: str) -> Float[Tensor, "n"]:
    """The smallest weights with sum one whose mean of the vertices is a point."""
    system = torch.cat([vertices_m.T, torch.ones(1, len(vertices_m))]).double()
    weights = torch.linalg.pinv(system) @ torch.cat([point_m, torch.ones(1)]).double()
    if not (system[:3] @ weights - point_m).norm() < _MAX_RESIDUAL_M:
        raise _no_skin(finger)
    return weights.float()


def _no_skin(finger: str) -> InputError:
    return InputError(f"the hand's mesh has no closed skin around the end of the {finger}: give a complete hand mesh")
