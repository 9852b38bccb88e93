import pytest

from posebridge.errors import InputError
from posebridge.skeletons.body import BODY22, COCO17, H36M17, MPII16, SMPL24
from posebridge.skeletons.hand import HAND21

BODIES = (COCO17, H36M17, BODY22, SMPL24, MPII16)
ALL = (HAND21, *BODIES)

# Kinematic trees as their publishers list them: SMPL's kintree_table, and Human3.6M's 17 joints.
SMPL_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
H36M_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
H36M_LEFT, H36M_RIGHT = (4, 5, 6, 11, 12, 13), (1, 2, 3, 14, 15, 16)


@pytest.mark.parametrize("skeleton", ALL, ids=lambda s: s.name)
def test_every_joint_descends_from_the_root(skeleton):
    for joint in range(len(skeleton)):
        steps = 0
        while joint != skeleton.root:
            joint = skeleton.parents[joint]
            steps += 1
            assert steps < len(skeleton)
    assert len(skeleton.bones) == len(skeleton) - 1
    assert len(set(skeleton.joints)) == len(skeleton) == int(skeleton.name[-2:])


@pytest.mark.parametrize("skeleton", ALL, ids=lambda s: s.name)
def test_mirroring_twice_is_the_identity(skeleton):
    mirror = skeleton.mirror
    assert tuple(mirror[i] for i in mirror) == tuple(range(len(skeleton)))
    assert {(mirror[a], mirror[b]) for a, b in skeleton.bones} == set(skeleton.bones)
    for indices in skeleton.group_indices().values():
        assert {mirror[i] for i in indices} == set(indices)


@pytest.mark.parametrize("skeleton", BODIES, ids=lambda s: s.name)
def test_mirror_image_swaps_left_and_right_by_name(skeleton):
    swapped = {"left": "right", "right": "left"}
    for joint, image in zip(skeleton.joints, skeleton.mirror, strict=True):
        side, _, part = joint.partition("_")
        assert skeleton.joints[image] == (f"{swapped[side]}_{part}" if side in swapped else joint)


def test_trees_are_the_published_ones():
    assert SMPL24.parents == SMPL_PARENTS
    assert H36M17.parents == H36M_PARENTS
    assert tuple(H36M17.mirror[i] for i in H36M_LEFT) == H36M_RIGHT


def test_body22_has_the_joints_of_both():
    assert set(BODY22.canonical_names) == {*H36M17.canonical_names, *COCO17.canonical_names}
    assert {*H36M17.bones} <= {*BODY22.bones}
    for part in (H36M17, COCO17):
        assert (part.order_of(BODY22.canonical_names) >= 0).sum() == len(part)


@pytest.mark.parametrize("skeleton", BODIES, ids=lambda s: s.name)
def test_groups_are_the_columns_of_the_body_tables(skeleton):
    assert tuple(skeleton.groups) == ("Head", "Sld", "Elb", "Wrist", "Hip", "Knee", "Ankle")
    assert all(len(skeleton.groups[limb]) == 2 for limb in ("Sld", "Elb", "Wrist", "Hip", "Knee", "Ankle"))


@pytest.mark.parametrize("skeleton", ALL, ids=lambda s: s.name)
def test_reference_bone_is_no_longer_than_a_bone_of_the_tree(skeleton):
    assert skeleton.reference in skeleton.bones


def test_names_are_shared_by_all_bodies():
    # A canonical name must mean the same joint in every skeleton that uses it, or conversion mixes them up.
    places = {place for skeleton in BODIES for place in skeleton.canonical_names}
    for skeleton in BODIES:
        for joint in set(skeleton.joints) & places:
            own_place = skeleton.canonical_name_of.get(joint, joint)
            assert own_place == joint, (skeleton.name, joint)


def test_unknown_and_repeated_names_are_one_line():
    with pytest.raises(InputError, match="no joint 'tail'"):
        H36M17.index("tail")
    with pytest.raises(InputError, match="more than one means left_ankle"):
        H36M17.order_of(SMPL24.joints)  # Human3.6M's foot is an ankle, SMPL's is not
    with pytest.raises(InputError, match="no joint of skeleton hand21") as refused:
        HAND21.order_of(("nose", "left_eye"))
    assert "\n" not in str(refused.value)
