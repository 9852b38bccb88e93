"""Kinematic trees, and local frames that are propagated from bone to bone.

The root has three axes: *across*, *along* and *front* = across x along. Joints of a nearly rigid part (palm, trunk)
span them. Each bone has a neutral direction in its parent's frame. A bone in ``Kinematics.moving``, such as a thigh,
passes its frame on after the shortest rotation from its neutral to its actual direction, without a twist. Bones of the
rigid part, such as a hip, pass the frame on unchanged, so errors of short bones rotate nothing else.

The basis of a bone has as rows its neutral direction and the directions in which positive flexion and abduction move
it. A bone that is neutral along the along axis (or against it) flexes to the front and abducts across.

Vectors are (3, n, B) for n bones of B poses: operations over the last axis are many times faster than over rows of
three.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

_MIN_SPAN = 1e-3  # of the longest bone; shorter spans don't determine an axis

Axis = tuple[tuple[int, ...], tuple[int, ...]]
LevelStep = Callable[["TreeLevel", Float[Tensor, "3 3 n B"]], tuple[Float[Tensor, "3 n B"], Float[Tensor, "3 n B"]]]


@dataclass(frozen=True)
class Kinematics:
    """A tree of J joints, and the axes relative to which the angles of its b = J - 1 bones are measured.

    Bones are ordered by their end joints, as in ``Skeleton.bones``. ``along`` and ``across`` are (from, to): the axis
    points from the mean of some joints to the mean of others. The across axis is made perpendicular to the along axis.
    Raises ``ValueError`` if a bone in ``straight`` has no parent bone.
    """

    parents: tuple[int, ...]  # the root's is -1
    along: Axis
    across: Axis
    moving: frozenset[int]  # end joints of bones that rotate the frame they pass on
    straight: frozenset[int]  # end joints of bones whose neutral direction is their parent's

    def __post_init__(self):
        if rooted := [joint for joint in self.straight if self.parents[joint] in (-1, self.root)]:
            raise ValueError(f"straight joints {rooted} are children of the root: their bones have no parent bone")

    @cached_property
    def root(self) -> int:
        """Index of the joint without a parent."""
        return self.parents.index(-1)

    @cached_property
    def end_joints(self) -> tuple[int, ...]:
        """End joint of each bone."""
        return tuple(joint for joint, parent in enumerate(self.parents) if parent >= 0)


@dataclass(frozen=True)
class TreeLevel:
    """The bones at one depth of a tree, contiguous in the order of the traversal."""

    span: slice
    parent_index: Int[Tensor, "n"]  # position of the parent joint in the level above
    parent_bone: Int[Tensor, "n"] | None  # in the order of the traversal; None at the root
    moving: Bool[Tensor, "n"]
    straight: Bool[Tensor, "n"]
    any_moves: bool
    is_plain: bool  # all bones are straight and ``parent_index`` is 0, 1, 2, ...


@dataclass(frozen=True)
class Traversal:
    """A tree level by level, so that the bones of a level are processed together; bones are in this order."""

    joints: Int[Tensor, "b"]  # end joints
    starts: Int[Tensor, "b"]  # start joints
    bones: Int[Tensor, "b"]  # indices in the order of ``Kinematics``
    bone_order: Int[Tensor, "b"]  # inverse permutation, to the order of ``Kinematics``
    joint_order: Int[Tensor, "J"]  # the same for joints; the root comes first in the traversal
    rotated_by: Float[Tensor, "b b"]  # [k, i] is 1 if bone i rotates bone k (as an ancestor), or i is k
    axis_weights: Float[Tensor, "2 J"]  # weights of the joints in the along and across axes
    levels: tuple[TreeLevel, ...]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # the result is cached, and later calls may need gradients
def traversal_of(kinematics: Kinematics, device: torch.device) -> Traversal:
    """The traversal of a tree from the root to the tips."""
    parents, root = kinematics.parents, kinematics.root
    joints: list[int] = []
    levels: list[TreeLevel] = []
    above = [root]
    while here := [joint for joint, parent in enumerate(parents) if parent in above]:
        levels.append(_level(kinematics, here, above, joints, device))
        joints, above = joints + here, here
    turns = torch.eye(len(joints))
    for k, end in enumerate(joints):
        joint = parents[end]
        while joint != root:
            turns[k, joints.index(joint)] = joint in kinematics.moving
            joint = parents[joint]
    spans = [
        [
            (joint in towards) / max(len(towards), 1) - (joint in away) / max(len(away), 1)
            for joint in range(len(parents))
        ]
        for away, towards in (kinematics.along, kinematics.across)
    ]
    bones = [kinematics.end_joints.index(joint) for joint in joints]

    def indices(values: list[int]) -> Int[Tensor, "k"]:
        return torch.tensor(values, device=device)

    return Traversal(
        joints=indices(joints),
        starts=indices([parents[joint] for joint in joints]),
        bones=indices(bones),
        bone_order=indices(bones).argsort(),
        joint_order=indices([root, *joints]).argsort(),
        rotated_by=turns.to(device),
        axis_weights=torch.tensor(spans, device=device),
        levels=tuple(levels),
    )


def _level(
    kinematics: Kinematics, here: list[int], above: list[int], before: list[int], device: torch.device
) -> TreeLevel:
    """The level whose bones end in the joints ``here``, given the joints of the level above and all joints before."""
    parents = [kinematics.parents[joint] for joint in here]
    moving = [joint in kinematics.moving for joint in here]
    straight = [joint in kinematics.straight for joint in here]
    return TreeLevel(
        span=slice(len(before), len(before) + len(here)),
        parent_index=torch.tensor([above.index(parent) for parent in parents], device=device),
        parent_bone=torch.tensor([before.index(parent) for parent in parents], device=device) if before else None,
        moving=torch.tensor(moving, device=device),
        straight=torch.tensor(straight, device=device),
        any_moves=any(moving),
        is_plain=all(straight) and parents == above,
    )


def propagate_frames(
    traversal: Traversal, R_root_world: Float[Tensor, "3 3 B"], neutral: Float[Tensor, "b 3"], step: LevelStep
) -> None:
    """Propagate the root's axes down the tree.

    ``step`` is called for each level with the bases of its bones in the world. It returns the directions of the bones
    in the world and in their bases. ``neutral`` holds a unit vector in the root's axes for each bone, in the order of
    ``Kinematics``.
    """
    axes = bone_bases(neutral)[traversal.bones]
    frames = R_root_world[:, :, None]
    for level in traversal.levels:
        if level.is_plain:
            basis = frames
        elif level.parent_bone is None:
            basis = _rotated(axes[level.span], frames)
        else:
            R = (axes[level.span, :, None] * axes[level.parent_bone, None]).sum(-1)
            basis = _rotated(R, frames[:, :, level.parent_index])
        direction, local = step(level, basis)
        frames = basis
        if level.any_moves and level is not traversal.levels[-1]:
            frames = torch.where(level.moving[:, None], _swung(basis, direction, local), basis)


def _rotated(R: Float[Tensor, "n 3 3"], frames: Float[Tensor, "3 3 #n B"]) -> Float[Tensor, "3 3 n B"]:
    """Each bone's matrix times its frames; not ``@``, which autocast would round to half precision."""
    return (R.permute(1, 2, 0)[:, :, None, :, None] * frames).sum(1)


def _swung(
    basis: Float[Tensor, "3 3 n B"], direction: Float[Tensor, "3 n B"], local: Float[Tensor, "3 n B"]
) -> Float[Tensor, "3 3 n B"]:
    """Bases after the shortest rotation of their first row n to the direction d of the bone.

    A vector x perpendicular to n becomes x - (x d) (n + d) / (1 + n d). A reversed bone counts as flexed by pi.
    """
    neutral, sides = basis[0], basis[1:]
    cosine, sine2 = local[0], local[1:].square().sum(0)
    reversed_bone = is_reversed(cosine, sine2)
    one_plus_cosine = torch.where(cosine < 0, sine2 / (1 + cosine.abs()), 1 + cosine)  # without cancellation near -1
    factor = local[1:] / torch.where(reversed_bone, 1, one_plus_cosine)
    swung = sides - factor[:, None] * (neutral + direction)
    flexed_by_pi = torch.stack([-sides[0], sides[1]])
    return torch.cat([direction[None], torch.where(reversed_bone, flexed_by_pi, swung)])


def is_reversed(cosine: Float[Tensor, "*n"], sine2: Float[Tensor, "*n"]) -> Bool[Tensor, "*n"]:
    """Whether a bone points against its neutral direction, up to rounding."""
    return (cosine < 0) & (sine2 < torch.finfo(sine2.dtype).eps)


def bone_bases(neutral: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3 3"]:
    """Bases of bones with the given neutral directions, in the axes (across, along, front).

    Front and across are rotated by the shortest rotation from the along axis to the neutral direction, or from the
    negative along axis if the two are more than 120 degrees apart.
    """
    neutral = F.normalize(neutral, dim=-1)
    upright = torch.zeros_like(neutral)
    upright[:, 1] = torch.where(neutral[:, 1] < -0.5, -1.0, 1.0)
    bisector = (neutral + upright) / (1 + (neutral * upright).sum(-1, keepdim=True))
    across, _, front = torch.eye(3, dtype=neutral.dtype, device=neutral.device).unbind()
    return torch.stack([neutral, front - neutral[:, 2:] * bisector, across - neutral[:, :1] * bisector], dim=1)


def root_axes(
    positions: Float[Tensor, "3 J B"], traversal: Traversal
) -> tuple[Float[Tensor, "3 3 B"], Bool[Tensor, "B"]]:
    """R_root_world of poses, with the axes as rows, and whether they are determined; otherwise the identity."""
    finite = positions.isfinite().all(0)
    bones = torch.where(finite, positions, 0)
    longest2 = (bones[:, traversal.joints] - bones[:, traversal.starts]).detach().square().sum(0).amax(0)
    least2 = _MIN_SPAN**2 * longest2
    # Not as a matrix product: see ``_rotated``.
    along, across = (traversal.axis_weights.to(positions)[:, None, :, None] * bones).sum(2)
    length2 = along.square().sum(0)
    has_length = length2 > least2
    y = torch.where(has_length, along, 0) / torch.where(has_length, length2, 1).sqrt()
    across = torch.where(has_length, across, 0)
    across = across - (across * y).sum(0) * y
    width2 = across.square().sum(0)
    spanned = (finite | (traversal.axis_weights == 0).all(0)[:, None]).all(0)
    determined = has_length & (width2 > least2) & spanned
    x = across / torch.where(determined, width2, 1).sqrt()
    R = torch.stack([x, y, torch.linalg.cross(x, y, dim=0)])
    return torch.where(determined, R, torch.eye(3, dtype=R.dtype, device=R.device)[..., None]), determined


def bone_directions(
    bones: Float[Tensor, "3 b B"],
) -> tuple[Float[Tensor, "3 b B"], Float[Tensor, "b B"], Bool[Tensor, "b B"]]:
    """Unit vectors and lengths of bones, and whether each has a direction.

    A bone has none if it isn't finite, or if its squared length is below rounding error of the pose's longest bone.
    Then the direction is an arbitrary unit vector, the length 0 and the gradient zero.
    """
    squared = bones.square().sum(0)
    finite = squared.isfinite()
    longest = torch.where(finite, squared, 0).amax(0)
    usable = finite & (squared > torch.finfo(bones.dtype).eps * longest)
    bones = torch.where(usable, bones, bones.new_tensor([0.0, 1.0, 0.0])[:, None, None])
    lengths = bones.square().sum(0).sqrt()
    return bones / lengths, torch.where(usable, lengths, 0), usable


def to_basis(basis: Float[Tensor, "3 3 n B"], vectors: Float[Tensor, "3 n B"]) -> Float[Tensor, "3 n B"]:
    """Components of each vector along the rows of its basis."""
    return (basis * vectors).sum(1)


def to_world(basis: Float[Tensor, "3 3 n B"], local: Float[Tensor, "3 n B"]) -> Float[Tensor, "3 n B"]:
    """Vectors with the given components along the rows of their bases."""
    return (basis * local[:, None]).sum(0)
