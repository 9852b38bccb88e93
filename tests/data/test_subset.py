import numpy as np
import pytest

from posebridge.data.frames import FrameIndex, FrameLabels, RawFrame
from posebridge.data.subset import Joined, NamedJoints, Subset, even_positions
from posebridge.skeletons.body import H36M17, MPII16, SMPL24


class People:
    """Frame i has joint j at (j, i), one metre away; odd joints are hidden, frame 1 lacks joint 15."""

    def __init__(self, skeleton, in_space: bool = True):
        self.skeleton = skeleton
        self.in_space = in_space
        self.skipped = {"a": "torn"}

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> RawFrame:
        return RawFrame(np.zeros((2, 2, 3), np.uint8), str(index))

    def labels(self, index: int) -> FrameLabels:
        j = np.arange(len(self.skeleton))
        uv = np.stack([j, np.full_like(j, index)], axis=1).astype(float)
        valid = ~((j == 15) & (index == 1))
        joints_m = np.stack([j, j, np.ones_like(j)], axis=1).astype(float)
        return FrameLabels(uv, valid, valid & (j % 2 == 0), joints_m if self.in_space else None)


def test_subset():
    chosen = Subset(People(SMPL24), [4, 1, 1])
    assert len(chosen) == 3
    assert [chosen[i].key for i in range(3)] == ["4", "1", "1"]
    assert chosen.labels(0).uv_px[0, 1] == 4
    assert chosen.labels(2).uv_px[0, 1] == 1


def test_joined_readers():
    class Videos(People):
        def frame_index(self) -> FrameIndex:
            return FrameIndex.of([("walk", i, 0) for i in range(len(self))])

    both = Joined(Videos(SMPL24), Subset(Videos(SMPL24), [4, 1]))
    assert len(both) == 7
    assert [both[i].key for i in range(7)] == ["0", "1", "2", "3", "4", "4", "1"]
    assert [both.labels(i).uv_px[0, 1] for i in (4, 5, 6)] == [4, 4, 1]
    index = both.frame_index()
    assert index.frame.tolist() == [0, 1, 2, 3, 4, 4, 1]
    assert len({*index.sequence[:5]}) == len({*index.sequence[5:]}) == 1
    assert index.sequence[0] != index.sequence[5]  # the same name in another reader is another video
    assert both.skipped == {"a": "torn"}
    for outside in (-1, 7):
        with pytest.raises(IndexError):
            both[outside]


def test_joints_are_replaced_by_named_others():
    joint_of = {"head_top": "head", "upper_neck": "neck", "thorax": "spine3", "left_shoulder": "left_collar"}
    named = NamedJoints(People(SMPL24), SMPL24, MPII16, joint_of)
    assert len(named) == 5
    assert named[3].key == "3"
    assert named.skipped == {"a": "torn"}
    labels = named.labels(0)
    for joint, name in enumerate(MPII16.joints):
        own = SMPL24.joints.index(joint_of.get(name, name))
        assert labels.valid[joint]
        assert labels.uv_px[joint].tolist() == [own, 0]
        assert labels.joints_m[joint].tolist() == [own, own, 1]
        assert labels.visible[joint] == (own % 2 == 0)
    assert MPII16.joints.index("head_top") == named.labels(1).valid.tolist().index(False)  # SMPL's head is its joint 15
    assert NamedJoints(People(SMPL24, False), SMPL24, MPII16, joint_of).labels(0).joints_m is None


def test_missing_joints_are_not_valid():
    named = NamedJoints(People(H36M17), H36M17, MPII16, {"head_top": "head"})
    missing = [name for name, valid in zip(MPII16.joints, named.labels(0).valid, strict=True) if not valid]
    assert missing == ["upper_neck"]
    # Human3.6M's thorax matches MPII's by position and by name.
    assert named.labels(0).uv_px[MPII16.index("thorax"), 0] == H36M17.index("thorax")


@pytest.mark.parametrize(
    ("joint_of", "message"),
    [
        ({"head_top": "crown"}, "names crown, which"),
        ({"crown": "head"}, "names crown, which"),
        ({"head_top": "pelvis"}, "for two of mpii16"),
    ],
)
def test_wrong_names(joint_of, message):
    with pytest.raises(ValueError, match=message):
        NamedJoints(People(SMPL24), SMPL24, MPII16, joint_of)


def test_even_positions():
    assert even_positions(10, 4).tolist() == [0, 3, 6, 9]
    assert even_positions(9, 4).tolist() == [0, 3, 5, 8]  # of 0, 2.67, 5.33 and 8
    assert even_positions(9, 4, round_down=True).tolist() == [0, 2, 5, 8]
    assert even_positions(3, 8).tolist() == even_positions(3, None).tolist() == [0, 1, 2]
    assert even_positions(5, 1).tolist() == [0]
    assert even_positions(0, 4).tolist() == []
