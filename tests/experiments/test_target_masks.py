"""Masks of the target and unconstrained images: from flags to the method, refused where no method takes them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.small_runs import FRAMES, HEIGHT, ONE_CPU, PLACE, SIDE, WIDTH
from posebridge.data.mask_files import MaskFiles
from posebridge.data.target import TargetConfig
from posebridge.errors import InputError
from posebridge.experiments.adapt import run_adapt
from posebridge.experiments.configs import AdaptConfig, SynthShiftConfig
from posebridge.experiments.synthshift import synthshift_experiment
from posebridge.experiments.target import load_target
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.presets.table import find_preset
from posebridge.skeletons.hand import HAND21


def write_masks(folder: Path, count: int = FRAMES) -> Path:
    """The 48 px render of each frame as its foreground."""
    folder.mkdir()
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[PLACE[1] : PLACE[1] + 48, PLACE[0] : PLACE[0] + 48] = 255
    for i in range(count):
        Image.fromarray(mask).save(folder / f"frame_{i:02d}.png")
    return folder


def test_masks_are_read_beside_the_frames(target, tmp_path):
    masks = MaskFiles(write_masks(tmp_path / "masks"))
    loaded = load_target(TargetConfig(target.images), SIDE, HAND21, None, masks=masks)
    assert len(masks.store) == len(loaded.dataset) == FRAMES
    frames = loaded.dataset.all()
    grey = (frames.rgb - 90 / 255).abs().amax(1) < 0.01  # around the renders
    inside = masks.store.masks(frames.key)
    assert 0.3 < inside.float().mean() < 0.8
    assert (grey & inside).float().mean() < 0.03
    assert masks.notes() == ()


def test_a_frame_without_a_mask_is_named(target, tmp_path):
    masks = MaskFiles(write_masks(tmp_path / "masks", FRAMES - 1))
    with pytest.raises(InputError, match=rf"no mask for 1 of {FRAMES} frames \(frame_{FRAMES - 1}\)"):
        load_target(TargetConfig(target.images), SIDE, HAND21, None, masks=masks)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": Path("masks")}, "method mean-teacher uses no masks of the target: leave --masks out"),
        ({"unconstrained": Path("images")}, "exchanges no backgrounds: leave --unconstrained out"),
    ],
)
def test_methods_without_a_use_for_them_refuse(target, tmp_path, changes, message):
    config = AdaptConfig(method="mean-teacher", target=TargetConfig(target.images), source="renders", **changes)
    with pytest.raises(InputError, match=message):
        run_adapt(config, tmp_path / "run", ONE_CPU)
    assert not (tmp_path / "run").exists()


def test_true_masks_are_for_methods_that_use_masks():
    with pytest.raises(InputError, match="method mean-teacher uses no masks of the target: leave true_masks out"):
        synthshift_experiment(SynthShiftConfig(true_masks=True), ONE_CPU)


class _Exchanging(MeanTeacherConfig):
    def with_unconstrained(self, folder: Path) -> "_Exchanging":
        return replace(self, kept_frac=0.123)


def test_an_empty_folder_is_refused_before_training(tmp_path):
    preset = find_preset("adapt/hand", "small", "mean-teacher").with_config("mean-teacher", _Exchanging())
    with pytest.raises(InputError, match=f"no readable image in the background folder {tmp_path}"):
        preset.with_unconstrained("mean-teacher", tmp_path)
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(tmp_path / "a.png")
    changed = preset.with_unconstrained("mean-teacher", tmp_path).config_of("mean-teacher")
    assert isinstance(changed, _Exchanging)
    assert changed.kept_frac == 0.123
    assert preset.with_unconstrained("mean-teacher", None) is preset
