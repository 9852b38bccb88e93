"""A batch without its labels contains the data of its sensor only."""

from dataclasses import fields

import pytest
import torch

from data.labelled import depth_batch, rgb_batch
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.draw import generator_for
from posebridge.synthesis.domains import DOMAINS, find_domain, render

ANY = {"key", "camera", "T_crop_file", "sequence", "frame", "view", "T_world_cam"}
OF_SENSOR = {"colour": ANY | {"image"}, "depth": ANY | {"depth_m", "centre_m"}}
SENSOR_OF = {"hand-rgb": "colour", "body-rgb": "colour", "hand-depth": "depth"}


def present(batch) -> set[str]:
    return {f.name for f in fields(batch) if getattr(batch, f.name) is not None}


@pytest.mark.parametrize("track", DOMAINS)
def test_unlabelled_batches_contain_sensor_data_only(track):
    batch = render(find_domain(track, "street"), 2, 48, generator_for(1, 1))
    assert batch.sensor == batch.unlabelled().sensor == SENSOR_OF[track]
    assert present(batch.unlabelled()) <= OF_SENSOR[SENSOR_OF[track]]
    assert {"mask", "uv_px", "joints_m"} <= present(batch)
    assert ("depth_label_m" in present(batch)) == (SENSOR_OF[track] == "colour")


@pytest.mark.parametrize("batch", [rgb_batch(), depth_batch()], ids=["colour", "depth"])
def test_every_label_is_dropped(batch):
    unlabelled = batch.unlabelled()
    assert type(unlabelled) is UnlabelledBatch
    assert present(unlabelled) <= OF_SENSOR[batch.sensor]
    for name in present(unlabelled) - {"camera", "key", "sequence"}:
        assert torch.equal(getattr(unlabelled, name), getattr(batch, name))


def test_measured_depth_beside_colour_is_refused():
    with pytest.raises(ValueError, match="depth of a colour crop is a label"):
        LabelledBatch(image=torch.zeros(1, 3, 4, 4), key=("a",), depth_m=torch.zeros(1, 4, 4))
