import json
from pathlib import Path

import numpy as np
import pytest
import torch

from posebridge.errors import InputError
from posebridge.skeletons.body import COCO17, H36M17, MPII16, SMPL24
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.orders import ORDERS, convert

FORMATS = Path(__file__).resolve().parents[3] / "shared" / "data" / "formats"
HANDS = ("rhd2d", "freihand", "onehand10k", "panoptic_hand2d", "coco_wholebody_hand")
TARGETS = {
    **dict.fromkeys(HANDS, HAND21),
    "coco": COCO17,
    "h36m": H36M17,
    "mpii": MPII16,
    "crowdpose": MPII16,
    "jhmdb": H36M17,
    "mpi_inf_3dhp": H36M17,
    "smpl": SMPL24,
}
# The datasets' names of joints that have another canonical name here.
NATIVE = {
    "h36m": {"root": "pelvis", "left_foot": "left_ankle", "right_foot": "right_ankle"}
    | {"neck_base": "head_centre", "head": "head_top"},
    "crowdpose": {"top_head": "head_top", "neck": "thorax"},
    "jhmdb": {"neck": "thorax", "belly": "spine", "head": "head_centre"},
    "mpi_inf_3dhp": {"neck": "thorax", "root": "pelvis", "head": "head_centre"},
}


@pytest.fixture(scope="module")
def published() -> dict[str, list[str]]:
    path = FORMATS / "joint_orders.json"
    if not path.exists():
        pytest.skip("../shared/data is absent")
    return json.loads(path.read_text())


def numbered(count: int) -> np.ndarray:
    """Joint i of sample b at (i, 100 b + i)."""
    joints = np.arange(count, dtype=np.float64)
    return np.stack([np.stack([joints, 100 * sample + joints], axis=-1) for sample in range(2)])


def test_every_published_order_has_an_entry(published):
    assert set(published) <= set(ORDERS)


@pytest.mark.parametrize("dataset", sorted(set(TARGETS) - {"smpl"}))
def test_published_orders_convert_to_joints_of_their_names(dataset, published):
    names, skeleton = published[dataset], TARGETS[dataset]
    places = [NATIVE.get(dataset, {}).get(name, name) for name in names]
    moved, valid = convert(numbered(len(names)), None, ORDERS[dataset], skeleton)
    for source, place in enumerate(places):
        if place in skeleton.canonical_names or skeleton is HAND21:
            target = skeleton.index(place)  # for hands the published names are aliases
            np.testing.assert_array_equal(moved[:, target], [[source, source], [source, 100 + source]])
            assert valid[:, target].all()
    known = sum(place in skeleton.canonical_names for place in places) if skeleton is not HAND21 else 21
    assert valid.sum() == 2 * known
    assert (moved[~valid] == 0).all()


@pytest.mark.parametrize("dataset", [*HANDS, "coco", "h36m", "mpii"])
def test_published_names_convert_like_their_order(dataset, published):
    values = numbered(len(published[dataset]))
    by_file, _ = convert(values, None, tuple(published[dataset]), TARGETS[dataset])
    by_table, _ = convert(values, None, ORDERS[dataset], TARGETS[dataset])
    np.testing.assert_array_equal(by_file, by_table)


def test_rhd_lists_fingers_tip_first():
    moved, _ = convert(numbered(21), None, ORDERS["rhd2d"], HAND21)
    assert moved[0, HAND21.index("index_4"), 0] == 5
    assert moved[0, HAND21.index("index_1"), 0] == 8


def test_smpl_converts_to_human36m_by_position():
    moved, valid = convert(numbered(24), None, SMPL24.canonical_names, H36M17)
    got = {name: int(moved[0, i, 0]) for i, name in enumerate(H36M17.joints) if valid[0, i]}
    # SMPL's published numbers of the joints.
    limbs = {"hip": 1, "knee": 4, "ankle": 7, "shoulder": 16, "elbow": 18, "wrist": 20}
    trunk = {"pelvis": 0, "spine": 6, "thorax": 12, "neck_base": 15}
    left, right = ({f"{side}_{limb}": i + k for limb, i in limbs.items()} for k, side in enumerate(("left", "right")))
    assert got == trunk | left | right


@pytest.mark.parametrize("target", [COCO17, H36M17, MPII16, SMPL24], ids=lambda s: s.name)
@pytest.mark.parametrize("source", [COCO17, H36M17, MPII16, SMPL24], ids=lambda s: s.name)
def test_conversion_commutes_with_mirroring(source, target):
    values = numbered(len(source))
    moved, valid = convert(values, None, source.canonical_names, target)
    mirrored, mirrored_valid = convert(values[:, list(source.mirror)], None, source.canonical_names, target)
    np.testing.assert_array_equal(mirrored, moved[:, list(target.mirror)])
    np.testing.assert_array_equal(mirrored_valid, valid[:, list(target.mirror)])
    assert valid.sum() >= 2 * 12  # the limbs are in all of them


def test_invalid_stays_invalid_and_nan_means_missing():
    values = numbered(17)
    values[0, 9] = np.nan
    valid = np.ones((2, 17), dtype=bool)
    valid[1, 5] = False
    assert not convert(values, None, ORDERS["coco"], MPII16)[1][0, MPII16.index("left_wrist")]
    assert not convert(values, valid, ORDERS["coco"], MPII16)[1][1, MPII16.index("left_shoulder")]
    assert not convert(values, valid, ORDERS["coco"], MPII16)[1][:, MPII16.index("head_top")].any()


def test_tensors_convert_as_arrays_do_and_pass_gradients():
    values = numbered(15)
    tensor = torch.tensor(values, requires_grad=True)
    moved, valid = convert(tensor, None, ORDERS["jhmdb"], H36M17)
    expected, expected_valid = convert(values, None, ORDERS["jhmdb"], H36M17)
    np.testing.assert_array_equal(moved.detach().numpy(), expected)
    np.testing.assert_array_equal(valid.numpy(), expected_valid)
    moved.sum().backward()
    assert tensor.grad is not None
    np.testing.assert_array_equal(tensor.grad[0, :, 0].numpy(), np.ones(15))


def test_input_is_not_changed():
    values, valid = numbered(17), np.ones((2, 17), dtype=bool)
    before = values.copy()
    convert(values, valid, ORDERS["coco"], MPII16)
    np.testing.assert_array_equal(values, before)
    assert valid.all()


def test_wrong_numbers_of_joints_are_refused():
    with pytest.raises(InputError, match="20 joints came with 21 joint names"):
        convert(numbered(20), None, ORDERS["rhd2d"], HAND21)
    with pytest.raises(InputError, match="valid has shape"):
        convert(numbered(21), np.ones(21, dtype=bool), ORDERS["rhd2d"], HAND21)
