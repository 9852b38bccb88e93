"""Renders to the public depth benchmarks, at a size of seconds, on files in the layout of their releases."""

from pathlib import Path

import numpy as np
import pytest
from posebridge.recipes import depth_fusion, depth_transfers
from posebridge.recipes.depth_fusion import SMALL
from posebridge.recipes.depth_transfers import BENCHMARKS, DepthTransferConfig, in_joints_of, run_depth_transfer
from recipes.small_depth import quick

from data.depth_releases import write_icvl_frame, write_msra_sequence, write_nyu
from posebridge import cli
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.datasets.icvl import ICVL
from posebridge.data.datasets.msra import MSRA
from posebridge.data.datasets.nyu import NYU
from posebridge.data.skipped_list import UNREADABLE, SkippedList
from posebridge.skeletons.hand import HAND21
from training.dots import ONE_CPU

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = ("--accelerator", "cpu", "--precision", "32")


def write_icvl(root: Path) -> None:
    parts = [("Training", "labels.txt", "r", 4)]
    parts += [("Testing", f"test_seq_{i}.txt", f"test_seq_{i}", 3 - i) for i in (1, 2)]
    for folder, listed, sequence, count in parts:
        names = [f"{sequence}/image_{i}.png" for i in range(count)]
        lines = [write_icvl_frame(root / folder / "Depth", name, seed) for seed, name in enumerate(names)]
        (root / folder / listed).write_text("".join(lines))


def write(recipe: str, root: Path) -> Path:
    root.mkdir(exist_ok=True)
    if recipe == "renders-to-nyu":
        write_nyu(root, 4, split="train")
        write_nyu(root, 3)
    elif recipe == "renders-to-icvl":
        write_icvl(root)
    else:
        for subject in range(3):
            write_msra_sequence(root / f"P{subject}" / "1", 3)
    return root


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    sizes = {"small": quick(SMALL)}
    monkeypatch.setattr(depth_fusion, "SIZES", sizes)
    monkeypatch.setattr(depth_transfers, "SIZES", sizes)


def truth(recipe: str, root: Path) -> dict[str, np.ndarray]:
    """By key, straight from the reader: joints that count, millimetres."""
    plan = BENCHMARKS[recipe]
    reader = {"renders-to-nyu": lambda: NYU(root), "renders-to-icvl": lambda: ICVL(root)}.get(
        recipe, lambda: MSRA(root, "test", 0)
    )()
    order = [plan.skeleton.joints.index(joint) for joint in plan.scored]
    return {reader[i].key: 1000 * reader.labels(i).joints_m[order] for i in range(len(reader))}


@pytest.mark.parametrize("recipe", list(BENCHMARKS))
def test_scored_by_the_joints_that_count(recipe, tmp_path):
    root = write(recipe, tmp_path / "set")
    record = run_depth_transfer(DepthTransferConfig(recipe, root), tmp_path / "run", ONE_CPU)
    plan = BENCHMARKS[recipe]
    found = in_joints_of(plan, KeypointSet.load(tmp_path / "run" / "predictions.npz"))
    true = truth(recipe, root)
    assert {*map(str, found.key)} == {*true}
    errors = np.linalg.norm(found.xyz_mm - np.stack([true[str(key)] for key in found.key]), axis=-1)
    score = record.scores["adapted"]
    assert score.mean_error_mm == pytest.approx(errors.mean(), rel=1e-3)
    assert score.success_rates == pytest.approx({f"{mm}": (errors.max(1) < mm).mean() for mm in (20, 40, 80)})
    assert len(score.joint_names) == {"renders-to-nyu": 11, "renders-to-icvl": 15, "renders-to-msra": 20}[recipe]
    assert f"{len(plan.scored)} joints" in record.notes[1]
    assert any(row.method == "Ours-HPE" or "HPE" in row.method for row in record.published)


@pytest.mark.parametrize(("frames", "views", "count"), [("test", 1, 3), ("both", 1, 7), ("both", 3, 21)])
def test_frames_that_are_adapted_to(frames, views, count, tmp_path):
    root = write("renders-to-nyu", tmp_path / "set")
    config = DepthTransferConfig("renders-to-nyu", root, frames=frames, views=views)
    record = run_depth_transfer(config, tmp_path / "run", ONE_CPU)
    where = {"test": "the test split", "both": "both splits"}[frames]
    assert record.notes[1].startswith(f"Unlabelled: {count} pictures of {where}. Scored: 3")


@pytest.mark.parametrize("views", [1, 3])
def test_cubes_around_labelled_joints(views, tmp_path):
    root = write("renders-to-nyu", tmp_path / "set")
    config = DepthTransferConfig("renders-to-nyu", root, views=views, centres="labels")
    record = run_depth_transfer(config, tmp_path / "run", ONE_CPU)
    assert record.notes[-1].startswith("hands were cut around their labelled joints")
    frames = NYU(root, centres="labels")
    cut = depth_transfers._read(BENCHMARKS["renders-to-nyu"], config, quick(SMALL), SkippedList(tmp_path / "s"), 0)[1]
    np.testing.assert_allclose(cut.centre_m, [frames[i].centre_m for i in range(len(frames))], atol=1e-6)


def test_joints_of_icvl_are_middles_of_bones():
    xyz_mm = np.random.default_rng(0).normal(size=(2, 21, 3))
    hands = KeypointSet(np.array(["a", "b"]), HAND21.joints, uv_px=xyz_mm[..., :2], xyz_mm=xyz_mm)
    found = in_joints_of(BENCHMARKS["renders-to-icvl"], hands)
    at = {name: xyz_mm[:, i] for i, name in enumerate(HAND21.joints)}
    mid = found.xyz_mm[:, found.joint_names.index("ring_mid")]
    np.testing.assert_allclose(mid, (at["ring_2"] + at["ring_3"]) / 2)


def test_three_views_of_nyu_as_typed_and_resumed(tmp_path, capsys):
    root, out = write("renders-to-nyu", tmp_path / "set"), tmp_path / "run"
    typed = ["train", "renders-to-nyu", "--target", str(root), "--out", str(out), "--views", "3", "--stacks", "2", *CPU]
    assert cli.main(typed) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("source only: ")
    assert printed[1].endswith("of frames below 20 mm, on 3 frames of NYU")
    report = (out / "report.html").read_text()
    assert "3 views of each explain one another" in report
    assert "frames with all joints below 20 mm" in report
    (out / "report.html").unlink()
    assert cli.main(["resume", str(out), *CPU]) == 0
    assert (out / "report.html").exists()


@pytest.mark.parametrize(
    ("recipe", "flags", "message"),
    [
        ("renders-to-icvl", ["--views", "3"], "ICVL has one view: leave --views out"),
        ("renders-to-nyu", ["--held-out", "5"], "NYU has a test split of its own: leave --held-out out"),
        ("renders-to-nyu", ["--source", "."], "leave --source out"),
        ("renders-to-nyu", ["--method", "mean-teacher"], "adapted by multi-view-fusion: leave --method out"),
        ("renders-to-nyu", ["--views", "3", "--centres", "."], "centres of a file are those of view 1"),
        ("renders-to-nyu", ["--target", "nowhere"], "nowhere is no folder: give the one of NYU"),
        ("rhd-to-h3d", [], "rhd-to-h3d needs --source"),
        ("rhd-to-h3d", ["--source", ".", "--views", "3"], "leave --views out: it is for depth"),
        ("rhd-to-h3d", ["--source", ".", "--stacks", "2"], "leave --stacks out: it is for depth"),
        ("rhd-to-h3d", ["--source", ".", "--method", "multi-view-fusion"], "multi-view-fusion reads depth"),
    ],
)
def test_words_that_do_not_fit(tmp_path, capsys, recipe, flags, message):
    root = write("renders-to-nyu", tmp_path / "set")
    assert cli.main(["train", recipe, "--target", str(root), "--out", str(tmp_path / "run"), *flags, *CPU]) == 2
    assert message in capsys.readouterr().err


def test_frames_that_can_not_be_used_are_listed(tmp_path, capsys):
    root = write("renders-to-nyu", tmp_path / "set")
    (root / "train" / "depth_1_0000002.png").write_bytes(b"broken")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / UNREADABLE).write_text('["earlier.png", "before any run began"]\n')
    run_depth_transfer(DepthTransferConfig("renders-to-nyu", root), tmp_path / "run", ONE_CPU)
    assert "1 frames could not be used" in capsys.readouterr().out


def test_no_label_of_the_target_is_looked_at(tmp_path):
    root = write("renders-to-nyu", tmp_path / "set")
    (root / "train" / "joint_data.mat").unlink()
    record = run_depth_transfer(DepthTransferConfig("renders-to-nyu", root), tmp_path / "run", ONE_CPU)
    assert record.scores["adapted"].n_frames == 3
