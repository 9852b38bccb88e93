"""Rendered sets read frame by frame, compared with the renderer and with the reader of whole shards."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.on_disk import truncate
from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.options import DatasetOptions
from posebridge.data.datasets.registry import DATASETS
from posebridge.data.frames import UnreadableFrameError
from posebridge.data.render_config import RenderConfig
from posebridge.data.rendered_set import open_samples, render_set
from posebridge.data.shard_reader import ShardedSet
from posebridge.data.shards import load_index
from posebridge.errors import InputError

STILLS = RenderConfig("studio", count=70, size_px=32, shard_length=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered") / "set"
    render_set(STILLS, folder)
    return folder


@pytest.mark.parametrize(
    ("track", "name", "skeleton", "count"),
    [
        ("hand-rgb", "rendered", "hand21", 4),
        ("body-rgb", "rendered", "h36m17", 4),
        ("hand-depth", "rendered-depth", None, 6),
    ],
)
def test_frames_are_the_rendered_ones(tmp_path, track, name, skeleton, count):
    config = RenderConfig("studio", count=count, size_px=32, track=track)
    render_set(config, tmp_path)
    rendered = open_samples(config).samples(0, count)
    frames = DATASETS[name].open(tmp_path, "train", skeleton=skeleton)
    assert [frames[i].key for i in range(len(frames))] == list(rendered.key)
    for i in (0, count - 1):
        frame, labels, sample = frames[i], frames.labels(i), rendered[i : i + 1]
        np.testing.assert_allclose(labels.uv_px, sample.uv_px[0], atol=1e-5)
        np.testing.assert_allclose(labels.joints_m, sample.joints_m[0], atol=1e-6)
        np.testing.assert_array_equal(labels.visible, sample.visible[0] if sample.visible is not None else labels.valid)
        np.testing.assert_array_equal(labels.mask, sample.mask[0])
        np.testing.assert_allclose(frame.K, sample.camera.K[0], rtol=1e-6)
        depth_m = sample.depth_m if frame.image is None else sample.depth_label_m
        np.testing.assert_allclose(frame.depth_m, depth_m.reshape(frame.depth_m.shape), atol=2e-4)
        if frame.image is not None:
            pixels = torch.from_numpy(frame.image).permute(2, 0, 1) / 255
            torch.testing.assert_close(pixels, sample.image[0], atol=0.5 / 255 + 1e-6, rtol=0)


def test_crops_of_whole_images_are_the_images(folder):
    """The crop of a square render of the same size moves no pixel."""
    frames = DATASETS["rendered"].open(folder, "train", skeleton="hand21")
    whole = ShardedSet(folder).samples(60, 10)  # over the border of two shards
    crops = LabelledCrops(frames, CropConfig(32, hand="annotated"))
    for i in range(10):
        crop = crops[60 + i]
        torch.testing.assert_close(crop.image, whole.image[i : i + 1], atol=1e-6, rtol=0)
        torch.testing.assert_close(crop.uv_px, whole.uv_px[i : i + 1], atol=1e-4, rtol=0)
        torch.testing.assert_close(crop.depth_label_m.squeeze(1), whole.depth_label_m[i : i + 1].squeeze(1))


def test_splits(folder, tmp_path):
    whole = DatasetOptions(whole_set=True)
    one = [len(DATASETS["rendered"].open(folder, split, whole, "hand21")) for split in ("train", "test")]
    assert one == [70, 70]
    assert len(DATASETS["rendered"].open(folder, "train", skeleton="hand21")) == 70
    with pytest.raises(InputError, match="is a single set: give a folder of train/ and test/, or whole_set=true"):
        DATASETS["rendered"].open(folder, "test", skeleton="hand21")
    render_set(RenderConfig("studio", count=3, size_px=16), tmp_path / "train")
    render_set(RenderConfig("street", count=2, size_px=16), tmp_path / "test")
    two = [DATASETS["rendered"].open(tmp_path, split, skeleton="hand21") for split in ("train", "test")]
    assert [len(frames) for frames in two] == [3, 2]
    assert two[1][0].key.startswith("street")


def test_damage(tmp_path):
    render_set(STILLS, tmp_path)
    second = tmp_path / "shard-000001.tar"
    content = bytearray(second.read_bytes())
    content[600] ^= 1
    second.write_bytes(content)
    truncate(tmp_path / "shard-000002.tar", 0.5)
    frames = DATASETS["rendered"].open(tmp_path, "train", skeleton="hand21")
    assert frames[0].key == "studio-0-00000000"
    with pytest.raises(UnreadableFrameError, match=r"shard-000001\.tar:studio-0-00000032: damaged"):
        frames[32]
    assert frames[33].key == "studio-0-00000033"
    read = [frame.key for frame in frames]
    assert 60 < len(read) < 70
    assert any("shard-000002" in file for file in frames.skipped)


@pytest.mark.parametrize("size", [512 * 3, 512 * 3 + 100])
def test_shard_cut_at_a_header(tmp_path, size):
    render_set(RenderConfig("studio", count=32, size_px=16), tmp_path)
    shard = tmp_path / "shard-000000.tar"
    shard.write_bytes(shard.read_bytes()[:size])
    frames = DATASETS["rendered"].open(tmp_path, "train", skeleton="hand21")
    (reason,) = frames.skipped.values()
    assert f"{32 - len(frames)} of its 32 samples can't be found" in reason
    shard.unlink()
    with pytest.raises(InputError, match=r"no sample can be read \(No such file or directory; 32 of its 32"):
        DATASETS["rendered"].open(tmp_path, "train", skeleton="hand21")


def test_files_of_other_sets(tmp_path):
    """A shard in the place of another is left out, and a sample with other joints is unreadable."""
    people = RenderConfig("studio", count=40, size_px=16, track="body-rgb", shard_length=32)
    for name, config in (("hands", replace(people, track="hand-rgb")), ("people", people)):
        render_set(config, tmp_path / name)
    shard = tmp_path / "hands" / "shard-000001.tar"
    shard.write_bytes((tmp_path / "people" / "shard-000001.tar").read_bytes())
    frames = DATASETS["rendered"].open(tmp_path / "hands", "train", skeleton="hand21")
    assert len(frames) == 32
    assert "another file: " in frames.skipped[str(shard)]
    index = tmp_path / "hands" / "index.json"
    there, here = (load_index(tmp_path / name) for name in ("people", "hands"))
    replace(here, shards=(here.shards[0], there.shards[1])).save(index.parent)
    frames = DATASETS["rendered"].open(tmp_path / "hands", "train", skeleton="hand21")
    with pytest.raises(UnreadableFrameError, match="it has other joints than hand21"):
        frames.labels(32)


def test_unfinished_set(tmp_path):
    render_set(RenderConfig("studio", count=64, size_px=16, shard_length=32), tmp_path)
    replace(load_index(tmp_path), count=100).save(tmp_path)
    frames = DATASETS["rendered"].open(tmp_path, "train", skeleton="hand21")
    assert frames.skipped == {str(tmp_path): "36 of its 100 samples are not rendered yet"}


def test_same_samples_in_both_splits(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        render_set(RenderConfig("studio", count=count, size_px=16), tmp_path / split)
    with pytest.raises(InputError, match="hold the same samples: render one of them with another --seed"):
        DATASETS["rendered"].open(tmp_path, "train", skeleton="hand21")


def test_damaged_labels_of_a_video(tmp_path):
    render_set(RenderConfig("studio", count=6, size_px=16, frames=3), tmp_path)
    shard = tmp_path / "shard-000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b'"frame": 1', b'"frame": x', 1))
    frames = DATASETS["rendered"].open(tmp_path, "train", skeleton="hand21")
    index = frames.frame_index()
    assert index.frame.tolist() == [0, 0, 2, 0, 1, 2]
    assert index.sequence[1] not in (index.sequence[0], index.sequence[3])
    with pytest.raises(UnreadableFrameError, match="damaged"):
        frames[1]


def test_refusals(folder, tmp_path):
    for name, skeleton, message in (
        ("rendered-depth", None, "is a set of track hand-rgb: give it as rendered="),
        ("rendered", "mpii16", "has the joints of hand21, and mpii16 is requested"),
    ):
        with pytest.raises(InputError, match=message):
            DATASETS[name].open(folder, "train", skeleton=skeleton)
    with pytest.raises(InputError, match=r"train holds no index\.json: give a folder that posebridge render has"):
        DATASETS["rendered"].open(tmp_path, "train", skeleton="hand21")
    with pytest.raises(InputError, match="its frames are single images; render videos with --frames"):
        DATASETS["rendered"].open(folder, "train", skeleton="hand21").frame_index()
    with pytest.raises(InputError, match="has no option 'every'"):
        DATASETS["rendered"].open(folder, "train", DatasetOptions(every=2), "hand21")
