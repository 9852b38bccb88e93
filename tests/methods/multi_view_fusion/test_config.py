"""The config of multi-view fusion for a target: views of a moment, and steps of fine-tuning."""

from dataclasses import replace

import pytest
import torch

from data.rendered_depth import hands
from posebridge.methods.multi_view_fusion.config import MultiViewFusionConfig
from posebridge.presets.table import find_preset

CONFIG = find_preset("adapt/hand-depth", "small", "multi-view-fusion").methods["multi-view-fusion"]
assert isinstance(CONFIG, MultiViewFusionConfig)


@pytest.fixture(scope="module")
def batch():
    return hands(3)


@pytest.mark.parametrize(("calibrated", "sets", "steps"), [(False, 9, 135), (True, 3, 45), (False, 900, 1200)])
def test_few_moments_shorten_fine_tuning(batch, calibrated, sets, steps):
    """A moment is drawn 150 times at most, ten at a step."""
    frames = batch.unlabelled().take(torch.arange(sets if not calibrated else 9) % 9)
    frames = frames if calibrated else replace(frames, T_world_cam=None)
    settled = CONFIG.for_target(frames)
    tuning = settled.fine_tuning
    assert tuning.schedule.steps == steps
    assert (tuning.views, tuning.pseudo_views) == (3, not calibrated)
    assert (tuning.teacher_fitting is not None) == calibrated
    assert settled.single_view == CONFIG.single_view


def test_moments_of_fewer_cameras_do_not_count(batch):
    """Two moments of three views, and one of two."""
    frames = batch.unlabelled().take(torch.arange(8))
    tuning = CONFIG.for_target(frames).fine_tuning
    assert (tuning.views, tuning.schedule.steps) == (3, 30)
