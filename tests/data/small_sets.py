"""A small set of every dataset of the table, in its release's layout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data import (
    test_bighand,
    test_coco,
    test_coco_keypoints,
    test_dexter_object,
    test_freihand,
    test_ganerated,
    test_hand3d_studio,
    test_human36m,
    test_icvl,
    test_interhand,
    test_labels_npz,
    test_lsp,
    test_mpi_inf_3dhp,
    test_mpii,
    test_msra,
    test_mvhand,
    test_panoptic_hands,
    test_rhd,
    test_stb,
    test_surreal,
    test_threedpw,
    test_youtube_hands,
)
from data.depth_releases import write_nyu
from data.on_disk import write_image
from posebridge.data.datasets.options import DatasetOptions, Split
from posebridge.data.render_config import RenderConfig
from posebridge.data.rendered_set import render_set


class SmallSet(NamedTuple):
    """How a set is written below a folder, and the dataset that opens it."""

    name: str
    write: Callable[[Path], Any]
    count: int  # frames of the split
    split: Split = "train"
    options: DatasetOptions = DatasetOptions()
    skeleton: str | None = None


def _youtube(root: Path) -> None:
    test_youtube_hands.small_set(root)
    (root / "youtube_val.json").rename(root / "youtube_train.json")


def _mpi_inf_3dhp(root: Path) -> None:
    test_mpi_inf_3dhp.write_training(root, images=True)


def _human36m(root: Path) -> None:
    test_human36m.write_all(root, test_human36m.write_extracted, (9, 11))


def _mpii(root: Path) -> None:
    for name in ("a", "b"):
        write_image(root / "images" / f"{name}.jpg", 140, 120)
    (root / "annot").mkdir()
    (root / "annot/train.json").write_text(json.dumps(test_mpii.records()))


def _coco_keypoints(root: Path) -> None:
    content = test_coco_keypoints.content()
    for annotation in content["annotations"]:
        annotation["hand_type"] = "left"
    for image in content["images"]:
        write_image(root / "images" / image["file_name"])
    (root / "test.json").write_text(json.dumps(content))


def _labels_npz(root: Path) -> None:
    for i in range(3):
        write_image(root / "train/images" / f"{i}.png")
    test_labels_npz.write_labels(root / "train", ["0", "2"], xyz_mm=np.full((2, 21, 3), 500.0))


def _rendered(root: Path) -> None:
    render_set(RenderConfig("studio", count=6, size_px=32, frames=3), root)


def _rendered_depth(root: Path) -> None:
    render_set(RenderConfig("studio", count=6, size_px=32, track="hand-depth"), root)


SMALL_SETS = (
    SmallSet("rhd", test_rhd.small_set, 4),
    SmallSet("freihand", test_freihand.small_set, 6),
    SmallSet("stb", test_stb.small_set, 4 * test_stb.FRAMES // 2, "test"),
    SmallSet("h3d", test_hand3d_studio.small_set, 4, "test", DatasetOptions(objects="all", hand="right")),
    SmallSet("mvhand", test_mvhand.small_set, 2 * 4 * test_mvhand.FRAMES),
    SmallSet("youtube-3d-hands", _youtube, 4),
    SmallSet("dexter-object", test_dexter_object.small_set, 12, "test"),
    SmallSet("panoptic-hands", test_panoptic_hands.small_set, 3),
    SmallSet("ganerated", test_ganerated.small_set, 3, options=DatasetOptions(part="noObject")),
    SmallSet("interhand2.6m", test_interhand.small_set, 4),
    SmallSet("nyu", write_nyu, 9, "test", DatasetOptions(views=(1, 2, 3))),
    SmallSet("icvl", test_icvl.small_set, 13, "test"),
    SmallSet("msra", test_msra.small_set, 1, "test", DatasetOptions(test_subject=2, centres="labels")),
    SmallSet("bighand2.2m", test_bighand.small_set, 3),
    SmallSet("surreal", test_surreal.small_set, 6, options=DatasetOptions(clips=2, every=2)),
    SmallSet("human3.6m", _human36m, 4, "test", DatasetOptions(views=(0,))),
    SmallSet("3dpw", test_threedpw.write, 8),
    SmallSet("mpi-inf-3dhp", _mpi_inf_3dhp, 4, options=DatasetOptions(views=(1,))),
    SmallSet("lsp", test_lsp.write, 3, options=DatasetOptions(box_padding=1.5)),
    SmallSet("mpii", _mpii, 3),
    SmallSet("coco", test_coco.small_set, 2, "test"),
    SmallSet("coco-keypoints", _coco_keypoints, 3, "test", skeleton="hand21"),
    SmallSet("labels-npz", _labels_npz, 2, options=DatasetOptions(hand="left"), skeleton="hand21"),
    SmallSet("rendered", _rendered, 6, skeleton="hand21"),
    SmallSet("rendered-depth", _rendered_depth, 6),
)
