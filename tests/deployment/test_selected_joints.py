import numpy as np
import pytest

from deployment.rigged import SPEC, DotFinder
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.deployment.predictor import PosePredictor
from posebridge.deployment.selected_joints import SelectedJoints
from posebridge.errors import InputError
from posebridge.skeletons.body import BODY22, COCO17, H36M17, MPII16
from posebridge.skeletons.skeleton import Skeleton


class Numbered:
    """Predicts that joint i is at pixel (i, 100 + i)."""

    def __init__(self, skeleton: Skeleton):
        self.skeleton, self.size_px, self.least_confidence = skeleton, 96, None

    def predict_crops(self, crops) -> KeypointSet:
        number = np.arange(len(self.skeleton), dtype=np.float64)
        uv_px = np.stack([number, 100 + number], axis=1)[None].repeat(len(crops), axis=0)
        return KeypointSet(np.array(crops), self.skeleton.joints, uv_px, confidence=uv_px[..., 0] / 100)


@pytest.mark.parametrize("chosen", [COCO17, H36M17, BODY22], ids=lambda skeleton: skeleton.name)
def test_joints_are_chosen_by_what_they_mean(chosen):
    found = SelectedJoints(Numbered(BODY22), chosen).predict_crops(["a", "b"])
    assert found.key.tolist() == ["a", "b"]
    assert found.joint_names == chosen.joints
    for joint, name in enumerate(chosen.canonical_names):
        number = BODY22.canonical_names.index(name)
        assert found.uv_px[1, joint].tolist() == [number, 100 + number]
        assert found.confidence[1, joint] == number / 100


def test_missing_joints_are_named():
    with pytest.raises(InputError, match=r"the model predicts h36m17, which lacks nose, left_eye, .* of coco17"):
        SelectedJoints(Numbered(H36M17), COCO17)
    with pytest.raises(InputError, match="lacks upper_neck of mpii16"):
        SelectedJoints(Numbered(BODY22), MPII16)
    with pytest.raises(InputError, match="no joint of skeleton coco17"):
        SelectedJoints(PosePredictor(SPEC, DotFinder()), COCO17)
