import pytest
import torch
import torchvision

from posebridge.losses.detection import centre_loss, giou_loss, iou


def boxes(seed):
    corners = 20 * torch.rand(50, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cat([corners.amin(1), corners.amax(1)], dim=-1)


def test_overlap_agrees_with_torchvision():
    a, b = boxes(0), boxes(1)
    torch.testing.assert_close(iou(a, b), torchvision.ops.box_iou(a, b).diagonal())
    torch.testing.assert_close(giou_loss(a, b), torchvision.ops.generalized_box_iou_loss(a, b), rtol=1e-5, atol=1e-6)


def test_boxes_apart_are_drawn_together():
    a = torch.tensor([[0.0, 0.0, 1.0, 1.0]], requires_grad=True)
    giou_loss(a, torch.tensor([[5.0, 0.0, 6.0, 1.0]])).sum().backward()
    assert a.grad is not None
    assert a.grad[0, 2] < 0  # a longer box to the right lowers the loss, though the boxes don't overlap


@pytest.mark.parametrize(("heat", "p", "expected"), [
    (1.0, 0.5, 0.25 * 0.6931472),  # -(1 - p)^2 log p
    (0.0, 0.5, 0.25 * 0.6931472),  # -p^2 log(1 - p)
    (0.5, 0.5, 0.5**4 * 0.25 * 0.6931472),  # close to a centre
    (1.0, 0.9, 0.01 * 0.1053605),
])  # fmt: skip
def test_centre_loss_by_hand(heat, p, expected):
    logit = torch.logit(torch.tensor([p], dtype=torch.float64))
    torch.testing.assert_close(
        centre_loss(logit, torch.tensor([heat], dtype=torch.float64)),
        torch.tensor([expected], dtype=torch.float64),
        rtol=1e-6,
        atol=1e-9,
    )


def test_extreme_logits_stay_finite():
    logits = torch.tensor([-80.0, 80.0, -80.0, 80.0], requires_grad=True)
    loss = centre_loss(logits, torch.tensor([1.0, 1.0, 0.0, 0.0]))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
