"""Matching of predictions to truth: frames by key, joints by name."""

from dataclasses import dataclass

import numpy as np

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21


@dataclass(frozen=True)
class MatchedSets:
    """The frames and joints that two sets share, both in the order of the truth."""

    prediction: KeypointSet
    truth: KeypointSet
    joint_names: tuple[str, ...]  # names of the skeleton, or positions ("0", "1", ...) if a file has no names
    without_prediction: int  # frames of the truth that the predictions lack
    without_truth: int  # frames of the predictions that the truth lacks
    unmatched_joints: tuple[str, ...]  # joints that only one of the two has

    def joint(self, name: str) -> int:
        """Index of a joint by its name, or by its position in files without names; ``InputError`` if unknown."""
        name = HAND21.aliases.get(name, name)
        if name not in self.joint_names:
            raise InputError(f"no joint {name!r} in both files; they share {', '.join(self.joint_names)}")
        return self.joint_names.index(name)


def match_keypoints(prediction: KeypointSet, truth: KeypointSet) -> MatchedSets:
    """Match two sets. Joint aliases of the hand are resolved; sets without names are matched by position.

    Raises ``InputError`` if they share no key or no joint, or differ in the number of joints without names.
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
    """Names of the shared joints, their indices in both sets, and the names that only one set has."""
    if prediction.joint_names is None or truth.joint_names is None:
        if prediction.n_joints != truth.n_joints:
            raise InputError(
                f"predictions have {prediction.n_joints} joints and truth {truth.n_joints}, "
                "but one has no joint names: save joint_names in both files"
            )
        names = prediction.joint_names or truth.joint_names or tuple(str(j) for j in range(truth.n_joints))
        all_joints = np.arange(truth.n_joints)
        return _canonical(names), all_joints, all_joints, ()

    predicted, true = _canonical(prediction.joint_names), _canonical(truth.joint_names)
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


def _canonical(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names with aliases resolved. Raises ``InputError`` if two names mean the same joint."""
    canonical = tuple(HAND21.aliases.get(name, name) for name in names)
    if len(set(canonical)) != len(canonical):
        raise InputError(f"joint names repeat: {', '.join(names)}")
    return canonical
