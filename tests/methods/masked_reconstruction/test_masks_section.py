"""Masks in the report: numbers, pictures, and what they are measured on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.section import Section
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.mask_store import MaskStore
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.methods.base import Evidence
from posebridge.methods.masked_reconstruction.mask_evidence import mask_sections
from posebridge.methods.masked_reconstruction.masks_section import MaskedFrame, MaskNumbers, masks_section
from posebridge.methods.masked_reconstruction.segmentation import SegmentationTraining, SegmentationTrainingConfig
from posebridge.networks.segmentation import SegmentationConfig
from posebridge.skeletons.hand import HAND21
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames

SIDE = 32


def _frame(truth: bool = True) -> MaskedFrame:
    image = np.full((8, 8, 3), 200, np.uint8)
    mask, true = np.zeros((2, 8, 8), bool)
    mask[:4, :4] = True
    true[2:6, :4] = True
    return MaskedFrame("f", image, mask, true if truth else None)


def test_pictures_show_the_mask_and_its_errors():
    frame = _frame()
    section = masks_section((frame,), MaskNumbers(5, 1, 0, 0.5, 3, 0.9), given=False)
    (row,) = section.picture_rows
    original, cut, errors = (picture.image for picture in row.pictures)
    assert (original == 200).all()
    assert (cut[:4, :4] == 200).all()
    assert cut[4:].max() < 100
    assert (errors[0, 0] == (255, 140, 0)).all()  # in the mask alone
    assert (errors[5, 0] == (0, 120, 255)).all()  # in the true mask alone
    assert errors[3, 0].max() < 100  # in both
    assert row.numbers[0].value == frame.iou == pytest.approx(8 / 24)
    assert _numbers(section) == {
        "mask IoU, target": 0.5,
        "mask IoU, source": 0.9,
        "frames with no foreground": 1,
        "frames with no background": 0,
    }
    assert section.legends


def test_frames_without_labels():
    section = masks_section((_frame(truth=False),), MaskNumbers(5, 0, 0), given=True)
    (row,) = section.picture_rows
    assert len(row.pictures) == 2
    assert row.numbers[0].value == 25
    assert not section.legends
    assert "given" in section.text


def test_shapes_that_don_t_fit_are_refused():
    frame = _frame()
    with pytest.raises(ValueError, match="mask of f is"):
        replace(frame, mask=frame.mask[:4])
    with pytest.raises(ValueError, match="true mask of f is uint8"):
        replace(frame, truth=np.zeros((8, 8), np.uint8))


def _numbers(section: Section) -> dict[str, float]:
    return {number.label: number.value for number in section.numbers}


def _samples(name: str, count: int) -> LabelledBatch:
    generator = torch.Generator().manual_seed(count)
    image = torch.rand(count, 3, SIDE, SIDE, generator=generator)
    mask = torch.rand(count, SIDE, SIDE, generator=generator) > 0.4
    return LabelledBatch(image=image, key=tuple(f"{name}{i}" for i in range(count)), mask=mask)


@pytest.fixture
def evidence(monkeypatch) -> Evidence:
    monkeypatch.setattr("posebridge.synthesis.backgrounds._BANK_SIZE", 16)
    source, target = _samples("s", 10), _samples("t", 20)
    context = Context(
        new_network=nn.Identity,
        skeleton=HAND21,
        source=InMemoryFrames(InMemoryDataset.of_batch(source), 0),
        target=InMemoryFrames(InMemoryDataset.of_batch(target.unlabelled()), 0),
        selection=None,
        seed=0,
    )
    config = SegmentationTrainingConfig(network=SegmentationConfig(width=2, most_channels=4))
    stage = SegmentationTraining(config, context, UnconstrainedImages())
    with torch.no_grad():  # everything is foreground
        stage.network.output.weight.zero_()
        stage.network.output.bias.fill_(1.0)
    return Evidence((stage,), context, target.unlabelled(), {}, frame_labels=target)


def test_predicted_masks_are_measured_on_both_domains(evidence):
    (section,) = mask_sections(evidence)
    assert evidence.frame_labels is not None
    assert evidence.frame_labels.mask is not None
    numbers = _numbers(section)
    share = evidence.frame_labels.mask.float().mean().item()
    assert numbers["mask IoU, target"] == pytest.approx(share, abs=1e-5)  # of masks without any background
    assert numbers["mask IoU, source"] == pytest.approx(0.6, abs=0.03)
    assert numbers["frames with no background"] == 20  # each frame once, however often the stream repeats it
    assert numbers["frames with no foreground"] == 0
    assert len(section.picture_rows) == 8
    assert all(len(row.pictures) == 3 for row in section.picture_rows)


def test_without_labels_nothing_is_measured_on_the_target(evidence):
    (section,) = mask_sections(replace(evidence, frame_labels=None))
    assert "mask IoU, target" not in _numbers(section)
    assert all(len(row.pictures) == 2 for row in section.picture_rows)


def test_given_masks_are_shown(evidence):
    assert evidence.frame_labels is not None
    given = MaskStore.of_labels([evidence.frame_labels])
    (section,) = mask_sections(replace(evidence, stages=(), context=replace(evidence.context, target_masks=given)))
    assert set(_numbers(section)) == {"frames with no foreground", "frames with no background"}
    keys = [row.caption for row in section.picture_rows]
    labels = dict(zip(evidence.frame_labels.key, evidence.frame_labels.mask.numpy(), strict=True))
    cut = section.picture_rows[0].pictures
    changed = (cut[0].image != cut[1].image).any(-1)
    assert not (changed & labels[keys[0]]).any()


def test_no_section_without_masks(evidence):
    assert mask_sections(replace(evidence, stages=())) == ()
