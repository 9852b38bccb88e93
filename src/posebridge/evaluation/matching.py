"""Which predicted joint belongs to which true one: frames by key, joints by name."""

from dataclasses import dataclass

import numpy as np

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21


@dataclass(frozen=True)
class MatchedSets:
    """The frames and joints that two sets share, in the truth's order in both."""

    prediction: KeypointSet
    truth: KeypointSet
    joint_names: tuple[str, ...]  # the skeleton's own names; positions ("0", "1", ...) where a file names no joints
    without_prediction: int  # frames of the truth that the predictions lack
    without_truth: int  # frames of the predictions that the truth lacks
    unmatched_joints: tuple[str, ...]  # joints that only one of the two has

    def joint(self, name: str) -> int:
        """Index of a joint by name, or by position where the files name no joints. ``InputError`` if unknown."""
        name = HAND21.aliases.get(name, name)
        if name not in self.joint_names:
            raise InputError(f"no joint {name!r} in both files; they share {', '.join(self.joint_names)}")
        return self.joint_names.index(name)


def match_keypoints(prediction: KeypointSet, truth: KeypointSet) -> MatchedSets:
    """Pair two sets. Names go through the hand's aliases; a set without names is taken by position.

    Raises ``InputError`` where they share no key or no joint, or where joints go by position and differ in number.
    """
    shared, in_prediction, in_truth = np.intersect1d(prediction.key, truth.key, assume_unique=True, return_indices=True)
    if len(shared) == 0:
        raise InputError(
            f"predictions and truth share no key (such as {str(prediction.key[0])!r} and {str(truth.key[0])!r}): "
            "a key is the stem of the image's file"
        )
    order = np.argsort(in_truth)
    names, from_prediction, from_truth, unmatched = _match_joints(prediction, truth)
    return MatchedSets(
        prediction.take(in_prediction[order], from_prediction),
        truth.take(in_truth[order], from_truth),
        names,
        without_prediction=len(truth) - len(shared),
        without_truth=len(prediction) - len(shared),
        unmatched_joints=unmatched,
    )


def _match_joints(
    prediction: KeypointSet, truth: KeypointSet
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, tuple[str, ...]]:
    """Names of the shared joints, their indices in both sets, and the names that only one of them has."""
    if prediction.joint_names is None or truth.joint_names is None:
        if prediction.n_joints != truth.n_joints:
            raise InputError(
                f"predictions have {prediction.n_joints} joints and truth {truth.n_joints}, "
                "and not both name them: save joint_names in both files"
            )
        names = prediction.joint_names or truth.joint_names or tuple(str(j) for j in range(truth.n_joints))
        every = np.arange(truth.n_joints)
        return _own_names(names), every, every, ()

    predicted, true = _own_names(prediction.joint_names), _own_names(truth.joint_names)
    shared = tuple(name for name in true if name in predicted)
    if not shared:
        raise InputError(
            f"predictions and truth share no joint: {', '.join(predicted[:4])}, ... against {', '.join(true[:4])}, ..."
        )
    unmatched = tuple(name for name in (*true, *predicted) if name not in shared)
    return (
        shared,
        np.array([predicted.index(name) for name in shared]),
        np.array([true.index(name) for name in shared]),
        unmatched,
    )


def _own_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The skeleton's names for other public ones. ``InputError`` where two of them mean the same joint."""
    own = tuple(HAND21.aliases.get(name, name) for name in names)
    if len(set(own)) != len(own):
        raise InputError(f"joint names repeat: {', '.join(names)}")
    return own
