import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bodies.mano_file import write_mano
from data.small_rendered_set import CONFIG, contents
from posebridge.bodies.shape_distribution import HAND_SHAPE_NAMES
from posebridge.data import rendered_set as module
from posebridge.data.render_config import RenderConfig
from posebridge.data.rendered_set import open_samples, render_set
from posebridge.data.shard_reader import ShardedSet
from posebridge.data.shards import load_index
from posebridge.distribute import Workers
from posebridge.errors import InputError
from posebridge.synthesis.domains import find_domain
from posebridge.synthesis.stream import Samples, VideoSamples

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    """The small set. Not to be changed."""
    folder = tmp_path_factory.mktemp("rendered") / "set"
    render_set(CONFIG, folder)
    return folder


def test_samples_read_back_are_those_rendered(rendered):
    expected = Samples(find_domain("hand-rgb", "studio"), 32, seed=5).samples(0, 72)
    found = ShardedSet(rendered).samples(0, 72)
    assert found.key == expected.key
    assert torch.equal(found.rgb, torch.round(expected.rgb * 255) / 255)
    for name in ("uv_px", "joints_m", "valid", "visible", "mask", "hand_mask", "angles_rad", "phenotypes"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert torch.equal(found.camera.K, expected.camera.K)
    assert (found.depth_label_m - expected.depth_label_m).abs().max() <= 5.1e-5
    assert torch.allclose(found.camera.project(found.joints_m), found.uv_px, atol=1e-3)


def test_index_names_the_columns(rendered):
    index = load_index(rendered)
    sample = ShardedSet(rendered).samples(0, 1)
    assert len(index.made_of["joint_names"]) == sample.joints_m.shape[1]
    assert len(index.made_of["angle_names"]) == sample.angles_rad.shape[1]
    assert len(index.made_of["phenotype_names"]) == sample.phenotypes.shape[1]
    assert index.made_of["phenotype_names"] == list(HAND_SHAPE_NAMES)
    assert index.made_of["versions"]["torch"] == torch.__version__.split("+")[0]
    assert index.made_of["distributions"]["poses"]["random_share"] == 0.4
    assert [shard.samples for shard in index.shards] == [64, 8]


@pytest.mark.slow
def test_same_bytes_from_several_processes(rendered, tmp_path):
    torch.set_num_threads(2)
    done = render_set(CONFIG, tmp_path / "set", Workers(2))
    assert contents(tmp_path / "set") == contents(rendered)
    assert (done.rendered, done.damaged) == (72, {})
    assert str(done).startswith("72 samples in 2 shards (")


def test_killed_runs_are_resumed(rendered, tmp_path):
    """Killed within its third write: that of the second piece, after the index and the first piece."""
    script = Path(__file__).with_name("killed_render.py")
    killed = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "set"), "3"], capture_output=True, check=False, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "set" / "pieces").is_dir()
    assert render_set(CONFIG, tmp_path / "set").rendered == 72 - 32
    assert contents(tmp_path / "set") == contents(rendered)


def test_larger_counts_and_damaged_shards(rendered, tmp_path, capsys):
    render_set(replace(CONFIG, count=40), tmp_path / "set")
    shard = tmp_path / "set" / "shard-000000.tar"
    assert load_index(tmp_path / "set").samples == 40
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 4
    shard.write_bytes(data)
    done = render_set(CONFIG, tmp_path / "set")
    assert done.damaged == {"shard-000000.tar": "its checksum differs"}
    assert "shard-000000.tar was damaged (its checksum differs) and is rendered again" in str(done)
    assert "shard-000000.tar is damaged" in "".join(capsys.readouterr())
    assert contents(tmp_path / "set") == contents(rendered)


def test_finished_sets_are_left_alone(rendered, tmp_path):
    for name, data in contents(rendered).items():
        (tmp_path / name).write_bytes(data)
    done = render_set(CONFIG, tmp_path)
    assert done.rendered == 0
    assert "0 rendered now, 72 were there" in str(done)


def test_videos(tmp_path):
    config = RenderConfig("studio", count=8, size_px=32, frames=5, format="jpg")
    render_set(config, tmp_path)
    expected = VideoSamples(find_domain("hand-rgb", "studio"), 32, 0, 5).samples(0, 8)
    found = ShardedSet(tmp_path).samples(0, 8)
    assert found.sequence == expected.sequence
    assert found.frame.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert torch.equal(found.uv_px, expected.uv_px)
    assert (found.rgb - expected.rgb).abs().mean() < 0.02


def test_depth_from_several_views(tmp_path):
    config = RenderConfig("street", count=6, track="hand-depth", size_px=32, shard_length=1)
    render_set(config, tmp_path)
    expected = Samples(find_domain("hand-depth", "street"), 32, 0).samples(0, 6)
    found = ShardedSet(tmp_path).samples(0, 6)
    assert found.image is None
    assert found.view.tolist() == [0, 1, 2, 0, 1, 2]
    for name in ("T_world_cam", "centre_m", "joints_m", "uv_px", "frame"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert found.sequence == expected.sequence
    assert (found.depth_m - expected.depth_m).abs().max() <= 5.1e-5


def test_workers_of_other_versions_are_refused(monkeypatch, tmp_path):
    expected = {**module.versions(), "torch": "1.0"}
    with pytest.raises(InputError, match=r"has torch 2.*, where rendering began it is 1\.0: install") as refusal:
        module.render_piece(CONFIG, expected, module.Piece(0, 1))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domain": "moon"}, "no domain 'moon': choose one of studio"),
        ({"track": "feet"}, "no track 'feet'"),
        ({"count": 0}, "0 samples"),
        ({"size_px": 0}, "0 px"),
        ({"seed": -1}, "seed -1"),
        ({"shard_length": 0}, "shards of 0"),
        ({"frames": 0}, "frames=0"),
        ({"track": "hand-depth", "count": 7}, "7 images are not whole sets of 3 views"),
        ({"track": "hand-depth", "count": 6, "frames": 4}, "hand-depth has no videos"),
        ({"seed": 6}, "seed is 5 there and 6 here"),
        ({"frames": 8}, "frames is None there and 8 here"),
        ({"shard_length": 32}, "shard size is 64 there and 32 here"),
    ],
)
def test_refusals(rendered, options, message):
    before = contents(rendered)
    with pytest.raises(InputError, match=message) as refusal:
        render_set(replace(CONFIG, **options), rendered)
    assert "\n" not in str(refusal.value)
    assert contents(rendered) == before


def test_mano_is_refused_for_colour(tmp_path):
    with pytest.raises(InputError, match="leave MANO out, or take hand-depth"):
        open_samples(RenderConfig("studio", 3, mano=write_mano(tmp_path / "mano.npz")))
