import pytest
import torch

from geometry.source_poses import SKELETONS, mirrored, source_poses
from posebridge.errors import InputError
from posebridge.geometry.biomechanics import joint_angles, neutral_directions
from posebridge.skeletons.body import BODIES
from posebridge.skeletons.depth_hands import NYU14
from posebridge.skeletons.hand import FINGERS, HAND21
from posebridge.skeletons.kinematics import kinematics_of


def degrees(skeleton, joints: torch.Tensor) -> dict[str, torch.Tensor]:
    """Angles in degrees of the bones that end in each joint, and neutral directions in the root's axes."""
    kinematics = kinematics_of(skeleton)
    angles = joint_angles(joints, kinematics, neutral_directions(joints, kinematics)).angles_rad.rad2deg()
    return {skeleton.joints[end]: angles[:, bone] for bone, end in enumerate(kinematics.end_joints)}


@pytest.mark.parametrize("name", SKELETONS)
def test_every_bone_of_every_source_pose_has_angles(name):
    skeleton, joints = SKELETONS[name], source_poses(name)
    kinematics = kinematics_of(skeleton)
    assert tuple((kinematics.parents[end], end) for end in kinematics.end_joints) == skeleton.bones
    found = joint_angles(joints, kinematics, neutral_directions(joints, kinematics))
    assert found.valid.all()
    assert found.angles_rad.norm(dim=-1).max() < 2.9  # far from half a turn, where angles are ambiguous


def test_fingers_flex_positively_in_the_axes_of_the_rig():
    found = degrees(HAND21, source_poses("hand21"))
    for finger in FINGERS[1:]:
        for part, least in ((2, -30), (3, -10), (4, -12)):
            flexion = found[f"{finger}_{part}"][:, 0]
            assert flexion.min() > least
            assert flexion.max() > 60
    joints = source_poses("hand21")
    found = joint_angles(joints, kinematics_of(HAND21), neutral_directions(joints, kinematics_of(HAND21)))
    # The rig's own axes: x to the thumb, y to the middle knuckle, z out of the palm.
    torch.testing.assert_close(found.R_root_world, torch.eye(3).expand(len(joints), 3, 3), rtol=0, atol=0.15)


@pytest.mark.parametrize("name", BODIES)
def test_fronts_of_bodies_are_in_front(name):
    skeleton, joints = SKELETONS[name], source_poses(name)
    kinematics = kinematics_of(skeleton)
    neutral = neutral_directions(joints, kinematics)
    direction = dict(zip((skeleton.joints[end] for end in kinematics.end_joints), neutral, strict=True))
    assert direction["left_knee"][2] > 0.2  # thighs are raised forwards in some poses, and backwards in few
    assert direction["left_elbow"][0] > 0.2  # a left arm hangs out to the left
    assert direction["right_elbow"][0] < -0.2
    found = degrees(skeleton, joints)
    assert found["left_ankle"][:, 0].min() < -100 or name == "coco17"  # knees bend backwards
    if name == "smpl24":
        assert direction["left_foot"][2] > 0.9


@pytest.mark.parametrize("name", BODIES)
def test_mirrored_bodies_have_the_other_sides_angles(name):
    skeleton, joints = SKELETONS[name], source_poses(name)[:60].double()
    kinematics = kinematics_of(skeleton)
    both = torch.cat([joints, mirrored(joints, skeleton)])
    found = joint_angles(both, kinematics, neutral_directions(both, kinematics)).angles_rad
    image = [kinematics.end_joints.index(skeleton.mirror[end]) for end in kinematics.end_joints]
    expected = found[:60, image] * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(found[60:], expected, rtol=0, atol=1e-9)


def test_skeletons_without_axes_are_refused():
    with pytest.raises(InputError, match="joint angles of skeleton nyu14 are not defined") as refused:
        kinematics_of(NYU14)
    assert "\n" not in str(refused.value)
