"""Pseudo-labels from a teacher's views: transforms, agreement, and kept joints."""

import pytest
import torch
from torch import Tensor

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.augment import GeometryConfig
from posebridge.draw import generator_for
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.training.pseudo_labeller import PseudoLabeller
from posebridge.training.pseudo_labels import PseudoLabels
from training.dots import PLAIN, SIDE, SKELETON, VIEWS, RecordingFinder, dots

pytestmark = pytest.mark.usefixtures("one_thread")


def labeller(restyler=None, geometry: GeometryConfig = VIEWS, **changes) -> PseudoLabeller:
    settings = MeanTeacherConfig(**{"geometry": geometry, "appearance": PLAIN, "style": None, **changes})
    return PseudoLabeller(settings, SKELETON.mirror, restyler)


def target() -> tuple[UnlabelledBatch, Tensor]:
    batch = dots(8, seed=12)
    assert batch.uv_px is not None
    return batch.unlabelled(), batch.uv_px


@pytest.mark.parametrize("views", [1, 3])
def test_labels_of_views_are_in_pixels_of_the_crop(views):
    """Labels from rotated, scaled and sheared views are at the drawn dots."""
    frames, uv_px = target()
    teacher = RecordingFinder()
    seen = labeller(teacher_views=views, kept_frac=1.0).label(teacher.predict, frames, frames.rgb, generator_for(0, 0))
    assert len(teacher.shown) == views
    assert all((image - frames.rgb).abs().max() > 0.1 for image in teacher.shown)
    # A dot of 2 px is an ellipse in a sheared view, and its centroid is exact to a fraction of a pixel.
    assert (seen.uv_px - uv_px).norm(dim=-1).max() < 0.3
    assert seen.kept.all()
    assert not seen.uv_px.requires_grad


def test_views_are_drawn_from_the_generator():
    frames, _ = target()
    shown = []
    for number in (0, 0, 1):
        teacher = RecordingFinder()
        labeller(teacher_views=2).label(teacher.predict, frames, frames.rgb, generator_for(0, number))
        shown.append(teacher.shown)
    assert torch.equal(shown[0][0], shown[1][0])
    assert torch.equal(shown[0][1], shown[1][1])
    assert not torch.equal(shown[0][0], shown[0][1])
    assert not torch.equal(shown[0][0], shown[2][0])


def labels(uv_px: Tensor, confidence: Tensor, depth: Tensor | None = None) -> PseudoLabels:
    return PseudoLabels(uv_px, torch.zeros_like(confidence) if depth is None else depth, confidence, confidence > 0)


def test_merged_views_are_means_weighted_by_agreement():
    """By hand: views d apart are d / 2 from their mean; confidence is the geometric mean times the agreement."""
    uv = torch.tensor([[[10.0, 12.0], [5.0, 6.0]]])
    apart = torch.tensor([[[0.0, 0.0], [1.2, 1.6]]])  # 2 px
    one = labels(uv, torch.tensor([[0.9, 0.8]]), torch.tensor([[0.0, 0.2]]))
    two = labels(uv + apart, torch.tensor([[0.4, 0.2]]), torch.tensor([[0.1, 0.4]]))
    merged = labeller(agreement_frac=0.05, kept_frac=0.5, teacher_views=2).merge([one, two], 40)  # 2 px of 40
    torch.testing.assert_close(merged.uv_px, uv + apart / 2)
    torch.testing.assert_close(merged.relative_depth, torch.tensor([[0.05, 0.3]]))
    expected = torch.tensor([[0.6, 0.4 * 2.718281828 ** (-0.5 * 0.5**2)]])
    torch.testing.assert_close(merged.confidence, expected)
    assert merged.kept.tolist() == [[True, False]]
    assert torch.equal(labeller().merge([one], 40).confidence, one.confidence)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_the_teacher_gets_the_style_of_the_source(probability):
    frames, _ = target()
    teacher = RecordingFinder()

    def negative(content: Tensor, style: Tensor, _) -> Tensor:
        assert len(style) == len(content)
        return 0.5 * content + 0.25

    still = GeometryConfig(rotation_deg=0.0, shear_deg=0.0, translation=0.0, scale=(1.0, 1.0))
    restyling = labeller(negative, still, target_to_source=probability)
    restyling.label(teacher.predict, frames, frames.rgb, generator_for(0, 0))
    expected = 0.5 * frames.rgb + 0.25 if probability else frames.rgb
    torch.testing.assert_close(teacher.shown[0], expected)


def test_unaugmented_labels_come_from_the_frames():
    batch = dots(70, seed=6)  # more than one part of frames
    teacher = RecordingFinder()
    shown = labeller(kept_frac=0.25).label_unaugmented(teacher, batch.unlabelled())
    assert torch.equal(torch.cat(teacher.shown), batch.rgb)
    assert len(shown.uv_px) == 70
    assert (shown.uv_px - batch.uv_px).norm(dim=-1).max() < 0.1 * SIDE / 32
    assert shown.kept.sum() == pytest.approx(0.25 * 210, abs=1)  # of all frames, not per part
