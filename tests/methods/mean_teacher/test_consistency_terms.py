"""Consistency terms of the mean teacher: views, depth, confidence and kept joints of its pseudo-labels."""

import math
from dataclasses import replace

import pytest
import torch

from methods.mean_teacher.adaptation_steps import NO_AUGMENTATION, FlatStudent, batches, pseudo_targets
from posebridge.draw import generator_for
from posebridge.representations.heatmaps import decode_argmax, image_from_map
from training.dots import SIDE, Finder, adaptation_stage, centroids, context, dots, with_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("views", [1, 2])
def test_targets_are_in_the_view_of_the_student(views):
    for number in range(4):
        stage, terms = pseudo_targets(number, teacher_views=views)
        terms["consistency"].backward()
        # The cross-entropy's gradient is (softmax - target) / count, and the softmax of zeros is uniform.
        target = 1 / 16**2 - 8 * 3 * stage.student.heat.grad
        assert torch.allclose(target.sum((2, 3)), torch.ones(8, 3), atol=1e-4)
        target_px = image_from_map(decode_argmax(target.clamp_min(1e-12))[0], (SIDE, SIDE), (16, 16))
        image = stage.student.shown[1]
        assert (target_px - centroids(image)).norm(dim=-1).max() < 0.1
        assert len(stage.teacher.shown) == views
        for seen in stage.teacher.shown:  # in other views
            assert (centroids(seen) - centroids(image)).norm(dim=-1).mean() > 1


def test_depth_targets_are_those_of_the_teacher():
    _, terms = pseudo_targets(teacher_views=2)
    # Smooth L1 (beta 0.1) of the student's 0 against the teacher's 0, 0.1, 0.2.
    assert terms["depth_consistency"].item() == pytest.approx((0 + 0.05 + 0.15) / 3, rel=1e-3)


def test_a_correct_student_has_minimal_loss():
    stage = with_trainer(adaptation_stage(context(), Finder(), kept_frac=1.0, **NO_AUGMENTATION))
    wrong = with_trainer(adaptation_stage(context(), Finder(), kept_frac=1.0, **NO_AUGMENTATION))
    wrong.student = FlatStudent()
    right, flat = (s.terms(batches(), generator_for(0, 0)) for s in (stage, wrong))
    entropy = math.log(2 * math.pi * math.e)  # of a Gaussian of sigma 1
    assert right["consistency"].item() == pytest.approx(entropy, abs=0.05)
    assert flat["consistency"].item() == pytest.approx(math.log(256), rel=1e-4)
    assert right["depth_consistency"] < 1e-6


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_one_threshold_keeps_a_fraction_of_the_batch(share):
    stage = with_trainer(adaptation_stage(context(), kept_frac=share, teacher_views=1, **NO_AUGMENTATION))
    pseudo = stage.labeller.label(
        stage.teacher.predict, batches()["target"], batches()["source"].rgb, generator_for(0, 0)
    )
    assert pseudo.kept.sum() == share * 24
    if share < 1:
        assert pseudo.confidence[pseudo.kept].min() > pseudo.confidence[~pseudo.kept].max()


def test_joints_that_are_not_kept_have_no_gradient():
    stage = with_trainer(adaptation_stage(context(), kept_frac=0.25, teacher_views=1, **NO_AUGMENTATION))
    stage.student = FlatStudent()
    stage.terms(batches(), generator_for(0, 0))["consistency"].backward()
    has_gradient = stage.student.heat.grad.abs().sum((2, 3)) > 0
    assert has_gradient.sum() <= 6  # those kept, without those outside the student's view


def test_views_that_disagree_lower_the_confidence():
    stage = adaptation_stage(context(), agreement_frac=0.03)
    view = stage.pseudo_labels(dots(2, seed=4).unlabelled())
    shift = torch.tensor([[0.0, 2.0, 20.0], [0.0, 0.0, 0.0]])[..., None] * torch.tensor([0.6, 0.8])
    merged = stage.labeller.merge([view, replace(view, uv_px=view.uv_px + shift)], SIDE)
    deviation = shift.norm(dim=-1) / 2 / (0.03 * SIDE)
    assert torch.allclose(merged.confidence, view.confidence * torch.exp(-0.5 * deviation**2), atol=1e-5)
    assert torch.allclose(merged.uv_px, view.uv_px + shift / 2, atol=1e-5)
