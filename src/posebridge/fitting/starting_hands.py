"""Hands from which fitting starts: the predicted pose, and gestures with the prediction's shape, rotation and palm."""

from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.parametric_hand import HandParameters, ParametricHand, hand_meshes
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.hand_poses import gesture_angles

_PALM = [HAND21.index(joint) for joint in ("wrist", "index_1", "middle_1", "ring_1", "pinky_1")]
_WRIST_ANGLES = 2  # the last of a pose; gestures keep the predicted ones


def starting_hands(
    hand: ParametricHand, predicted: HandParameters, gestures: tuple[str, ...], half_m: Float[Tensor, "B"]
) -> HandParameters:
    """B (1 + G) hands, of each prediction itself and then with the fingers of G gestures, all within joint limits.

    Shape, rotation and the position of the palm are those of the prediction. Names are in ``hand_poses.GESTURES``.
    """
    count = 1 + len(gestures)
    poses = predicted.pose[:, None].repeat(1, count, 1)
    if gestures:
        poses[:, 1:, :-_WRIST_ANGLES] = hand.pose_of(gesture_angles(gestures)).to(poses)[:, :-_WRIST_ANGLES]
    repeated = HandParameters(*(value.repeat_interleave(count, 0) for value in vars(predicted).values()))
    starts = HandParameters(hand.clamped_pose(poses.flatten(0, 1)), repeated.shape, repeated.R, repeated.centre)
    unit_m = half_m.repeat_interleave(count)
    here, there = (hand_meshes(hand, hands, unit_m).joints[:, _PALM].mean(1) for hands in (starts, repeated))
    return HandParameters(starts.pose, starts.shape, starts.R, starts.centre + there - here)
