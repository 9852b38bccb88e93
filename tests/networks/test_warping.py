"""Outputs of an untrained estimator, and the inputs that they depend on."""

import pytest
import torch
from torch import Tensor

from posebridge.errors import InputError
from posebridge.networks.hourglass import HourglassConfig
from posebridge.networks.warping import WarpingConfig, WarpingEstimator
from posebridge.representations.bone_maps import draw_bones

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = HourglassConfig(blocks=2, channels=4, most_channels=8)
BONES = ((0, 1), (2, 3))


def estimator(learnt: bool = False, **changes) -> WarpingEstimator:
    torch.manual_seed(0)
    made = WarpingEstimator(WarpingConfig(hourglass=TINY, **changes), len(BONES))
    if learnt:
        for layer in (made.masks, made.affine):
            if layer is not None:
                torch.nn.init.normal_(layer.weight, std=0.1)
    return made


def inputs(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    joints = 16 * torch.rand(2, 3, 4, 2, generator=generator)
    maps = [draw_bones(uv, BONES, 16, 16, 1.0).maps for uv in joints]
    return torch.rand(3, 3, 16, 16, generator=generator), *maps


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("prior", [0.0, 2.0])
def test_masks_of_every_pixel_sum_to_one(learnt, prior):
    warping = estimator(learnt, mask_prior=prior)(*inputs())
    assert warping.masks.shape == (3, 3, 16, 16)
    assert warping.inpainting.shape == (3, 1, 16, 16)
    torch.testing.assert_close(warping.masks.sum(1), torch.ones(3, 16, 16))
    assert (warping.masks >= 0).all()
    assert ((warping.inpainting > 0) & (warping.inpainting < 1)).all()
    assert warping.background is None


def test_without_a_prior_masks_are_uniform():
    warping = estimator()(*inputs())
    torch.testing.assert_close(warping.masks, torch.full((3, 3, 16, 16), 1 / 3))


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_with_a_prior_regions_are_the_driving_frames_bones(power):
    """By hand: a bone's mask is (2 b)^p over one plus the sum of all bones' (2 b)^p."""
    base, bones_base, bones_driving = inputs()
    masks = estimator(mask_prior=power)(base, bones_base, bones_driving).masks
    shares = torch.cat([torch.ones(3, 1, 16, 16), (2 * bones_driving).clamp_min(1e-4) ** power], dim=1)
    torch.testing.assert_close(masks, shares / shares.sum(1, keepdim=True))
    alone = torch.full_like(bones_driving, 1e-9)
    alone[:, 1] = 0.5  # half-way up the flank, and no other bone near
    torch.testing.assert_close(
        estimator(mask_prior=power)(base, bones_base, alone).masks[:, 2],
        torch.full((3, 16, 16), 0.5),
        atol=1e-3,
        rtol=0,
    )


def test_masks_of_the_prior_alone():
    """Masks then do not depend on the images; the inpainting mask is learnt all the same."""
    made = estimator(learnt_masks=False, mask_prior=2.0)
    base, *bones = inputs()
    found, other = made(base, *bones), made(base.flip(-1), *bones)
    torch.testing.assert_close(found.masks, estimator(mask_prior=2.0)(base, *bones).masks)
    assert torch.equal(found.masks, other.masks)
    assert not torch.equal(found.inpainting, other.inpainting)
    with pytest.raises(InputError, match="need a prior"):
        WarpingConfig(learnt_masks=False)


def test_output_depends_on_base_image_and_both_poses():
    learnt = estimator(learnt=True, background="affine").eval()
    given = [value.requires_grad_() for value in inputs()]
    for name in ("masks", "inpainting", "background"):
        # Of one region: the sum of masks is always one.
        output = getattr(learnt(*given), name)[:, 0].sum()
        for gradient in torch.autograd.grad(output, given):
            assert gradient.abs().sum() > 0, name


def test_new_affine_background_is_the_identity():
    warping = estimator(background="affine")(*inputs())
    assert warping.background is not None
    assert torch.equal(warping.background, torch.zeros(3, 2, 3))
    moved = estimator(learnt=True, background="affine")(*inputs()).background
    assert moved is not None
    assert (moved[0] != moved[1]).any()


def test_every_weight_has_a_gradient():
    made = estimator(learnt=True, background="affine", mask_prior=1.0)
    warping = made(*inputs())
    (warping.masks[:, 0].square().sum() + warping.inpainting.square().sum() + warping.background.sum()).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
