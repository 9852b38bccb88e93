"""Kinematic trees, and local frames that are carried down them from bone to bone.

The root has three axes, spanned by the joints of a part that hardly bends, a palm or a trunk: *across*, *along*, and
*front* = across x along. In its parent's frame a bone has a neutral direction. A bone that moves, such as a thigh,
carries the frame on by the shortest rotation from its neutral direction to its actual one, without a twist; one that
belongs to the rigid part, such as a hip, passes it on as it is, so that errors of short bones turn nothing else.

A bone's basis, as rows: its neutral direction, where positive flexion moves it from there, and where positive
abduction does. A bone that is neutral along (or against) the along axis is flexed to the front, and abducted across.

Vectors are (3, n, B) here, for n bones of B poses: whatever is done to all poses runs over memory in a row, many times
faster than over rows of three.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

_LEAST_SPAN = 1e-3  # of the longest bone: what is shorter spans no axis

Axis = tuple[tuple[int, ...], tuple[int, ...]]
LevelStep = Callable[["TreeLevel", Float[Tensor, "3 3 n B"]], tuple[Float[Tensor, "3 n B"], Float[Tensor, "3 n B"]]]


@dataclass(frozen=True)
class Kinematics:
    """A tree of J joints, and what angles of its b = J - 1 bones are measured against.

    Bones are in the order of the joints that they end in, as in ``Skeleton.bones``. ``along`` and ``across`` are
    (from, to): an axis points from the mean of some joints to the mean of others, and the across axis is made
    perpendicular.
    """

    parents: tuple[int, ...]  # the root's is -1
    along: Axis
    across: Axis
    moving: frozenset[int]  # joints whose bone carries its frame on
    straight: frozenset[int]  # joints whose bone continues its parent's in the neutral pose; data tell of the others

    def __post_init__(self):
        if nothing := [joint for joint in self.straight if self.parents[joint] in (-1, self.root)]:
            raise ValueError(f"joints {nothing} hang from the root: there is no bone for theirs to continue")

    @cached_property
    def root(self) -> int:
        """Index of the joint without a parent."""
        return self.parents.index(-1)

    @cached_property
    def end_joints(self) -> tuple[int, ...]:
        """The joint that each bone ends in."""
        return tuple(joint for joint, parent in enumerate(self.parents) if parent >= 0)


@dataclass(frozen=True)
class TreeLevel:
    """The bones at one depth of a tree: a stretch of the walk's order."""

    span: slice
    parent_index: Int[Tensor, "n"]  # place, in the level above, of the joint that each hangs from
    parent_bone: Int[Tensor, "n"] | None  # in the walk's order, the bone that each hangs from; None at the root
    moving: Bool[Tensor, "n"]
    straight: Bool[Tensor, "n"]
    any_moves: bool
    is_plain: bool  # all are straight, and ``above`` is 0, 1, 2, ...


@dataclass(frozen=True)
class Traversal:
    """A tree level by level, so that all bones of a level are worked on together. Bones are in the walk's order."""

    joints: Int[Tensor, "b"]  # where bones end
    starts: Int[Tensor, "b"]  # the joints where they begin
    bones: Int[Tensor, "b"]  # which bones of ``Kinematics`` they are
    bone_order: Int[Tensor, "b"]  # back to the order of ``Kinematics``
    joint_order: Int[Tensor, "J"]  # the same of joints, where the walk begins with the root
    rotated_by: Float[Tensor, "b b"]  # [k, i] is 1 where bone i turns bone k, directly or not, or is bone k
    axis_weights: Float[Tensor, "2 J"]  # weights of the joints in the along and across axes
    levels: tuple[TreeLevel, ...]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # the walk is kept, and gradients may be asked for later
def traversal_of(kinematics: Kinematics, device: torch.device) -> Traversal:
    """The walk from the root to the tips."""
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
    """The level of the joints ``here``, given those of the level above and all before."""
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
    walk: Traversal, R_root_world: Float[Tensor, "3 3 B"], neutral: Float[Tensor, "b 3"], step: LevelStep
) -> None:
    """Carry the root's axes down the tree. ``step`` is told of each level and its bones' bases in the world, and says
    where the bones point: in the world, and in their bases.

    ``neutral`` has a unit vector for each bone in the root's axes, in the order of ``Kinematics``.
    """
    axes = bone_bases(neutral)[walk.bones]
    frames = R_root_world[:, :, None]
    for level in walk.levels:
        if level.is_plain:
            basis = frames
        elif level.parent_bone is None:
            basis = _turned(axes[level.span], frames)
        else:
            turn = (axes[level.span, :, None] * axes[level.parent_bone, None]).sum(-1)
            basis = _turned(turn, frames[:, :, level.parent_index])
        direction, local = step(level, basis)
        frames = basis
        if level.any_moves and level is not walk.levels[-1]:
            frames = torch.where(level.moving[:, None], _carried(basis, direction, local), basis)


def _turned(turn: Float[Tensor, "n 3 3"], frames: Float[Tensor, "3 3 #n B"]) -> Float[Tensor, "3 3 n B"]:
    """Each bone's matrix times its frames. Not as a matrix product: autocast would round it to half precision."""
    return (turn.permute(1, 2, 0)[:, :, None, :, None] * frames).sum(1)


def _carried(
    basis: Float[Tensor, "3 3 n B"], direction: Float[Tensor, "3 n B"], local: Float[Tensor, "3 n B"]
) -> Float[Tensor, "3 3 n B"]:
    """Bases after the shortest rotation of their first row n to the bone's direction d.

    For x perpendicular to n it is x - (x d) (n + d) / (1 + n d). A bone that is turned right round is taken to have
    been flexed.
    """
    neutral, sides = basis[0], basis[1:]
    cosine, sine2 = local[0], local[1:].square().sum(0)
    turned = is_reversed(cosine, sine2)
    one_plus_cosine = torch.where(cosine < 0, sine2 / (1 + cosine.abs()), 1 + cosine)  # exact where the two cancel
    share = local[1:] / torch.where(turned, 1, one_plus_cosine)
    carried = sides - share[:, None] * (neutral + direction)
    flexed_by_pi = torch.stack([-sides[0], sides[1]])
    return torch.cat([direction[None], torch.where(turned, flexed_by_pi, carried)])


def is_reversed(cosine: Float[Tensor, "*n"], sine2: Float[Tensor, "*n"]) -> Bool[Tensor, "*n"]:
    """Where a bone points back along its neutral direction, as far as can be told."""
    return (cosine < 0) & (sine2 < torch.finfo(sine2.dtype).eps)


def bone_bases(neutral: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3 3"]:
    """Bases of bones with these neutral directions, in the axes (across, along, front) in which those are given.

    The front and across axes are turned by the shortest rotation from the along axis, or from the opposite one for
    neutral directions more than 120 degrees from it.
    """
    neutral = F.normalize(neutral, dim=-1)
    upright = torch.zeros_like(neutral)
    upright[:, 1] = torch.where(neutral[:, 1] < -0.5, -1.0, 1.0)
    bisector = (neutral + upright) / (1 + (neutral * upright).sum(-1, keepdim=True))
    across, _, front = torch.eye(3, dtype=neutral.dtype, device=neutral.device).unbind()
    return torch.stack([neutral, front - neutral[:, 2:] * bisector, across - neutral[:, :1] * bisector], dim=1)


def root_axes(places: Float[Tensor, "3 J B"], walk: Traversal) -> tuple[Float[Tensor, "3 3 B"], Bool[Tensor, "B"]]:
    """R_root_world, with the axes as rows, of poses; and where they are determined. Elsewhere they are the world's."""
    finite = places.isfinite().all(0)
    bones = torch.where(finite, places, 0)
    longest2 = (bones[:, walk.joints] - bones[:, walk.starts]).detach().square().sum(0).amax(0)
    least2 = _LEAST_SPAN**2 * longest2
    # Not as a matrix product: see ``_turned``.
    along, across = (walk.axis_weights.to(places)[:, None, :, None] * bones).sum(2)
    length2 = along.square().sum(0)
    has_length = length2 > least2
    y = torch.where(has_length, along, 0) / torch.where(has_length, length2, 1).sqrt()
    across = torch.where(has_length, across, 0)
    across = across - (across * y).sum(0) * y
    width2 = across.square().sum(0)
    spanned = (finite | (walk.axis_weights == 0).all(0)[:, None]).all(0)
    determined = has_length & (width2 > least2) & spanned
    x = across / torch.where(determined, width2, 1).sqrt()
    R = torch.stack([x, y, torch.linalg.cross(x, y, dim=0)])
    return torch.where(determined, R, torch.eye(3, dtype=R.dtype, device=R.device)[..., None]), determined


def bone_directions(
    bones: Float[Tensor, "3 b B"],
) -> tuple[Float[Tensor, "3 b B"], Float[Tensor, "b B"], Bool[Tensor, "b B"]]:
    """Unit vectors and lengths of bones, and which have a direction.

    A bone has none where it isn't finite, or is shorter than the square root of a rounding error of its pose's longest
    one. There the direction is some unit vector, the length 0, and the gradient zero.
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
    """The vectors that have these components along the rows of their bases."""
    return (basis * local[:, None]).sum(0)
