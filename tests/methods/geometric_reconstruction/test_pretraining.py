"""Pre-training: its terms, the alignment of styles, and its images."""

import pytest
import torch

from methods.geometric_reconstruction.small_stages import batches, pretraining_stage
from methods.stick_hands import CONFIG
from posebridge.data.augment import NONE
from posebridge.draw import generator_for
from posebridge.losses.keypoints import combine
from training.dots import with_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def test_pretraining_terms_are_named_as_their_weights():
    stage = with_trainer(pretraining_stage())
    terms = stage.terms(batches(stage), generator_for(0, 0))
    assert stage.term_weights == {"heat": 1.0, "depth": 0.1, "alignment": 0.1}
    # The alignment loss has gradients for the encoder, and none for the decoder.
    terms["alignment"].backward(retain_graph=True)
    assert all(p.grad is not None for p in stage.network.encoder.parameters())
    assert any(p.grad.abs().sum() > 0 for p in stage.network.encoder.parameters())
    assert all(p.grad is None for p in stage.network.head.parameters())
    combine(terms, stage.term_weights).backward()
    assert all(p.grad is not None for p in stage.network.parameters())


def test_alignment_loss_is_lowest_without_style_transfer():
    """Without a change of style z equals z+, and the cosine of pairs is one."""
    stage = with_trainer(pretraining_stage(appearance=CONFIG.appearance, geometry=NONE))
    stage.network.eval()
    given = batches(stage)
    plain, styled = with_trainer(pretraining_stage(geometry=NONE)), stage
    plain.restyler = None
    plain.network.eval()
    found = {
        name: made.terms(given, generator_for(0, 0))["alignment"]
        for name, made in (("plain", plain), ("styled", styled))
    }
    with torch.no_grad():
        z = torch.nn.functional.normalize(stage.network.features(given["source"].rgb)[-1].mean((2, 3)), dim=1)
    similar = (z @ z.T / 0.5).exp()
    expected = (2 * (similar.sum(1) - similar.diagonal())).log() - 2
    assert found["plain"].item() == pytest.approx(expected.mean().item(), abs=1e-4)
    assert found["styled"] > found["plain"]


def test_pretraining_uses_every_image_in_both_styles():
    stage, seen = with_trainer(pretraining_stage(geometry=NONE)), []
    stage.network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0] * 0.25 + 0.45))
    given = batches(stage)
    stage.terms(given, generator_for(0, 0))
    (images,) = seen
    torch.testing.assert_close(images[:4], given["source"].rgb, atol=1e-5, rtol=0)
    other = (images[4:] - images[:4]).abs().flatten(1)
    assert (other.amax(1) > 0.02).all()
