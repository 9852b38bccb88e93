"""The teacher: moving average of the student, statistics of its own images, result of the stage."""

import copy

import pytest
import torch
from torch import Tensor

from methods.mean_teacher.adaptation_steps import NO_AUGMENTATION, batches
from posebridge.draw import generator_for
from posebridge.training.run import SelectionPlan
from training.dots import adaptation_stage, context, finished, small_network, with_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_teacher_is_the_moving_average_without_gradient(tmp_path):
    stage = adaptation_stage(context(), average_decay=0.7)
    student, teacher = (copy.deepcopy(dict(m.named_parameters())) for m in (stage.student, stage.teacher))
    expected = {name: value.detach().clone() for name, value in teacher.items()}
    students: list[dict[str, Tensor]] = []
    score_at_every_step = SelectionPlan(lambda network: 0.0, lambda s: note(s, students), evaluations=12)
    finished(tmp_path, stage, score_at_every_step)
    assert len(students) == 13
    assert all(torch.equal(value, students[0][name]) for name, value in student.items())
    for weights in students[1:]:
        expected = {name: 0.7 * value + 0.3 * weights[name] for name, value in expected.items()}
    for name, value in stage.teacher.named_parameters():
        assert torch.allclose(value, expected[name], atol=1e-5), name
        assert value.grad is None
        assert not value.requires_grad


def note(stage, students: list[dict[str, Tensor]]) -> dict[str, float]:
    students.append({name: value.detach().clone() for name, value in stage.student.named_parameters()})
    return {}


def test_the_teachers_statistics_come_from_its_own_images():
    stage = with_trainer(adaptation_stage(context(), teacher_views=2, **NO_AUGMENTATION, average_decay=0.0)).train()
    shown: dict[str, list[Tensor]] = {"teacher": [], "student": []}
    for name, images in shown.items():
        first = getattr(stage, name).encoder.conv1[0]
        first.register_forward_pre_hook(lambda _, inputs, images=images: images.append(inputs[0]))
    bn = stage.teacher.encoder.conv1[1]
    before = bn.running_mean.clone()
    stage.terms(batches(), generator_for(0, 0))
    assert len(shown["teacher"]) == len(shown["student"]) == 2
    expected = before
    with torch.no_grad():
        for images in tuple(shown["teacher"]):
            expected = 0.9 * expected + 0.1 * stage.teacher.encoder.conv1[0](images).mean((0, 2, 3))
    assert torch.allclose(bn.running_mean, expected, atol=1e-5)


def test_the_result_is_the_teacher():
    network = small_network()
    stage = adaptation_stage(context(), network)
    assert stage.result() is stage.teacher
    assert stage.teacher is not network
    assert stage.student is not network
    assert {id(p) for p in stage.trained_parameters()} == {id(p) for p in stage.student.parameters()}
