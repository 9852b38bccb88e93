import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.on_disk import write_regressor
from data.small_sets import SMALL_SETS, SmallSet
from posebridge.data.crops import CropConfig, CubeCropConfig, LabelledCrops, UnlabelledCrops
from posebridge.data.datasets.joint_rules import STAND_INS, UNSCORED_JOINTS
from posebridge.data.datasets.options import DatasetOptions
from posebridge.data.datasets.registry import DATASETS, dataset_named
from posebridge.errors import InputError
from posebridge.evaluation.published import published_tables
from posebridge.skeletons.named import skeleton_named
from posebridge.skeletons.orders import convert


def crop_of(small: SmallSet) -> CropConfig | CubeCropConfig:
    hand = {"annotated": "annotated", "left": "left"}.get(DATASETS[small.name].hand)
    return CubeCropConfig(32, hand=hand) if DATASETS[small.name].sensor == "depth" else CropConfig(32, hand=hand)


def opened(small: SmallSet, folder, **changes):
    small.write(folder)
    small = small._replace(**changes)
    return DATASETS[small.name].open(folder, small.split, small.options, small.skeleton)


@pytest.fixture(params=SMALL_SETS, ids=[small.name for small in SMALL_SETS])
def small(request) -> SmallSet:
    return request.param


def test_every_dataset_has_a_small_set():
    assert [small.name for small in SMALL_SETS] == list(DATASETS)


def test_source(small, tmp_path):
    frames, entry = opened(small, tmp_path), DATASETS[small.name]
    assert len(frames) == small.count
    skeleton = skeleton_named(small.skeleton or entry.skeleton)
    labels = frames.labels(0)
    assert labels.uv_px.shape == (len(skeleton), 2)
    assert not (labels.visible & ~labels.valid).any()
    assert entry.joints_3d >= (labels.joints_m is not None)
    assert ("mask" in entry.labels) >= (labels.mask is not None)
    assert ("hand_mask" in entry.labels) >= (labels.hand_mask is not None)
    batch = LabelledCrops(frames, crop_of(small))[0]
    if labels.joints_m is not None and batch.camera is not None:
        valid = labels.valid
        projected = batch.camera.project(batch.joints_m)[:, valid]
        torch.testing.assert_close(projected, batch.uv_px[:, valid], atol=0.05, rtol=0)


def test_target(small, tmp_path):
    frames, entry = opened(small, tmp_path), DATASETS[small.name]
    frame = frames[0]
    assert (frame.image is None) == (entry.sensor == "depth")
    if entry.hand == "annotated":
        assert frame.hand in ("left", "right")
    elif entry.hand == "unspecified":
        assert frame.hand == small.options.hand
    else:
        assert frame.hand == entry.hand
    batch = UnlabelledCrops(frames, crop_of(small))[small.count - 1]
    assert batch.key == (frames[small.count - 1].key,)
    assert isinstance(frames.skipped, dict)


def test_frame_index(small, tmp_path):
    frames = opened(small, tmp_path)
    if not DATASETS[small.name].sequences:
        with pytest.raises(InputError, match="its frames are single images"):
            frames.frame_index()
        return
    index = frames.frame_index()
    read = [frames[i] for i in range(len(frames))]
    assert list(index.sequence) == [frame.sequence for frame in read]
    assert index.frame.tolist() == [frame.frame for frame in read]
    assert index.view.tolist() == [frame.view for frame in read]
    assert (index.frame.dtype, index.view.dtype) == (np.int64, np.int64)


BODIES = [small for small in SMALL_SETS if DATASETS[small.name].subject == "body"]


@pytest.mark.parametrize("small", BODIES, ids=[small.name for small in BODIES])
@pytest.mark.parametrize("skeleton", ["coco17", "mpii16", "h36m17", "smpl24"])
def test_other_skeletons(small, skeleton, tmp_path):
    """Joints are those of the same canonical name, or those of the benchmark's rule."""
    own, other = skeleton_named(DATASETS[small.name].skeleton), skeleton_named(skeleton)
    labels = opened(small, tmp_path).labels(0)
    found = DATASETS[small.name].open(tmp_path, small.split, small.options, skeleton).labels(0)
    rule = STAND_INS.get((small.name, skeleton))
    if rule is None:
        expected, valid = convert(labels.uv_px, labels.valid, own.canonical_names, other)
        assert (found.valid >= valid).all()  # a release may have joints that its skeleton lacks
        np.testing.assert_allclose(found.uv_px[valid], expected[valid], atol=1e-9)
    else:
        for joint, name in enumerate(other.joints):
            np.testing.assert_array_equal(found.uv_px[joint], labels.uv_px[own.index(rule.get(name, name))])


def test_scored_joints():
    """Ren et al., CVPR 2022, Sec. 4.1, ignore NYU's two wrists and palm, and a joint of ICVL and MSRA."""
    assert DATASETS["nyu"].scored_joints[:2] == ("pinky_4", "pinky_2")
    counts = {name: len(DATASETS[name].scored_joints) for name in ("nyu", "icvl", "msra")}
    assert counts == {"nyu": 14 - 3, "icvl": 16 - 1, "msra": 21 - 1}
    assert "wrist" not in DATASETS["msra"].scored_joints
    assert DATASETS["stb"].scored_joints == DATASETS["stb"].joints
    assert all({*UNSCORED_JOINTS[name]} <= {*DATASETS[name].joints} for name in UNSCORED_JOINTS)


def test_options_belong_to_datasets():
    names = {field.name for field in fields(DatasetOptions)}
    assert {name for entry in DATASETS.values() for name in entry.options} == names


def test_titles_are_those_of_the_published_tables():
    columns = [column for table in published_tables() for column in table.columns]
    published = {name for column in columns for name in (column.source, column.target) if name} - {"rendered MANO"}
    assert published <= {entry.title for entry in DATASETS.values()}


def test_labels_requested_by_a_method(tmp_path):
    entry = DATASETS["freihand"]
    small = next(small for small in SMALL_SETS if small.name == entry.name)
    options = entry.loading(frozenset({"joints", "vertices"}))
    assert options == DatasetOptions(vertices=True, masks=False)
    labels = opened(small, tmp_path, options=options).labels(0)
    assert (labels.vertices_m is not None, labels.mask) == (True, None)
    assert DATASETS["stb"].loading(frozenset({"joints"}), DatasetOptions(camera="BB_left")) == DatasetOptions(
        camera="BB_left"
    )
    with pytest.raises(InputError, match="rhd has no label mask: it has joints, hand_mask, depth"):
        DATASETS["rhd"].loading(frozenset({"joints", "mask"}))


def test_the_page_lists_every_dataset():
    page = (Path(__file__).resolve().parents[2] / "docs/datasets.md").read_text()
    for entry in DATASETS.values():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{entry.name}` | {entry.title} |")]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[3] == ", ".join(entry.splits)
        assert cells[4].split(", ")[1:] == [label for label in entry.labels if label != "joints"]
        assert cells[4].startswith("joints in 2D and 3D") == entry.joints_3d
        assert cells[5] == ", ".join(f"`{option}`" for option in entry.options)


def test_youtube_joints_need_a_regressor(tmp_path):
    entry = DATASETS["youtube-3d-hands"]
    with pytest.raises(InputError, match="no joint is labelled without the option regressor"):
        entry.check_labelled()
    small = next(small for small in SMALL_SETS if small.name == entry.name)
    options = DatasetOptions(regressor=write_regressor(tmp_path))
    entry.check_labelled(options)
    assert opened(small, tmp_path, options=options).labels(0).valid.all()


def test_centres_of_a_folder(tmp_path):
    small = next(small for small in SMALL_SETS if small.name == "msra")
    (tmp_path / "test.txt").write_text("1 2 350\n")
    frames = opened(small, tmp_path, options=replace(small.options, centres=str(tmp_path)))
    np.testing.assert_allclose(frames[0].centre_m, [0.001, -0.002, 0.35])


@pytest.mark.parametrize(
    ("name", "split", "options", "skeleton", "message"),
    [
        ("stb", "train", {"clips": 3}, None, "stb has no option 'clips': it takes camera"),
        ("coco", "train", {"every": 3}, None, "coco has no option 'every': it takes none"),
        ("dexter-object", "train", {}, None, "dexter-object has no split 'train': it has test"),
        ("ganerated", "test", {}, None, "ganerated has no split 'test': it has train"),
        ("stb", "train", {}, "smpl24", "stb shows a hand: its joints can't be those of smpl24"),
        ("lsp", "train", {}, "hand21", "lsp shows a body: its joints can't be those of hand21"),
        ("lsp", "train", {}, "lsp14", "no skeleton 'lsp14': there are hand21, "),
        ("icvl", "test", {}, "hand21", "no joint of skeleton hand21 is among the names palm, "),
        ("labels-npz", "train", {}, None, "labels-npz may hold any joints: name a skeleton"),
        ("nyu", "test", {"views": (1, 2)}, None, "nyu: views"),
        ("human3.6m", "train", {"views": (4,)}, None, r"metadata\.xml"),
    ],
)
def test_refusals(name, split, options, skeleton, message, tmp_path):
    if name == "icvl":
        next(small for small in SMALL_SETS if small.name == name).write(tmp_path)
    with pytest.raises(InputError, match=message):
        DATASETS[name].open(tmp_path, split, DatasetOptions(**options), skeleton)


def test_missing_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="is no folder: give the one of rhd, which holds training/ and evaluation/"):
        DATASETS["rhd"].open(tmp_path / "absent", "train")


def test_an_unknown_dataset():
    with pytest.raises(InputError, match="no dataset 'lsp-extended': there are rhd, freihand, "):
        dataset_named("lsp-extended")
    assert dataset_named("lsp") is DATASETS["lsp"]


def test_the_table_imports_no_array_library():
    code = "import sys, posebridge.data.datasets.registry; print({'numpy', 'torch', 'PIL', 'cv2'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
