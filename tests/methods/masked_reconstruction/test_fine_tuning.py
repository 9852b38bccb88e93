"""The fine-tuning stage: attention is compared with the pretrained encoder's, on target images alone."""

import copy
from dataclasses import replace

import pytest
import torch

from methods.masked_reconstruction.squares import SCHEDULE, VIT, context, first_terms, squares
from posebridge.data.augment import NONE
from posebridge.methods.masked_reconstruction.fine_tuning import FineTuning, FineTuningConfig
from posebridge.networks.pose_vit import PoseViT, PoseViTConfig
from posebridge.rendering.photometry import OFF
from posebridge.representations.pose_volumes import PoseVolumes
from posebridge.training.run import Run
from training.dots import ONE_CPU, with_trainer

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = FineTuningConfig(schedule=SCHEDULE, batch_size=8, target_batch_size=6, geometry=NONE, appearance=OFF)
VOLUMES = PoseVolumes("softmax", sigma=1.0, depth_bins=6, depth_range=2.0, decoding="mean")


def fine_tuning(config: FineTuningConfig = PLAIN, **changes) -> FineTuning:
    torch.manual_seed(0)
    network = PoseViT(PoseViTConfig(VIT, joints=3, head_channels=16), VOLUMES)
    return with_trainer(FineTuning(config, context(**changes), network))


def disturbed(stage: FineTuning) -> FineTuning:
    """The stage with other weights of queries and keys in its first block."""
    with torch.no_grad():
        block = next(stage.network.encoder.blocks)
        block.attn.qkv.weight += 0.2 * torch.randn_like(block.attn.qkv.weight)
    return stage


def test_attention_starts_as_the_pretrained_one():
    assert first_terms(fine_tuning())["attention"].item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("per_head", [True, False])
@torch.no_grad()
def test_attention_term_by_whole_matrices(per_head):
    """Eq. 6: squared differences of the class token's rows, summed over blocks and patches, a mean over images."""
    stage = disturbed(fine_tuning(replace(PLAIN, per_head=per_head)))
    images = stage.streams["target"].batch(0).rgb
    rows = []
    for encoder in (stage.network.encoder, stage.pretrained):
        x = torch.cat(
            [
                (encoder.vit.cls_token + encoder.vit.pos_embed[:, :1]).expand(len(images), -1, -1),
                encoder.tokens(images),
            ],
            dim=1,
        )
        found = []
        for block in encoder.blocks:
            y = block.norm1(x)
            q, k, _ = block.attn.qkv(y).unflatten(-1, (3, VIT.heads, -1)).permute(2, 0, 3, 1, 4)
            found.append((q @ k.transpose(-1, -2) * block.attn.scale).softmax(-1)[:, :, 0, 1:])
            x = block(x)
        rows.append(torch.stack(found))
    expected = 0.0
    for one, other in zip(*rows, strict=True):
        for image in range(len(images)):
            heads = [(a - b).square().sum() for a, b in zip(one[image], other[image], strict=True)]
            mean = (one[image].mean(0) - other[image].mean(0)).square().sum()
            expected += float(sum(heads) / len(heads) if per_head else mean) / len(images)
    assert expected > 1e-4
    assert first_terms(stage)["attention"].item() == pytest.approx(expected, rel=1e-4)


def test_gradients_of_attention_reach_the_trained_encoder_alone():
    stage = disturbed(fine_tuning())
    first_terms(stage)["attention"].backward()
    assert next(stage.network.encoder.blocks).attn.qkv.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in stage.pretrained.parameters())
    assert all(parameter.grad is None for parameter in stage.network.head.parameters())
    assert all(not parameter.requires_grad for parameter in stage.pretrained.parameters())


def test_source_images_do_not_change_the_attention_term():
    stage = disturbed(fine_tuning())
    batches = {name: stream.batch(0) for name, stream in stage.streams.items()}
    before = stage.terms(batches, torch.Generator().manual_seed(1))
    other = replace(batches["source"], image=batches["source"].rgb.flip(0))
    after = stage.terms({**batches, "source": other}, torch.Generator().manual_seed(1))
    assert before["attention"] == after["attention"]
    assert before["pose"] != after["pose"]


def test_without_the_term_no_target_is_needed():
    stage = fine_tuning(replace(PLAIN, attention_weight=0.0), target=None)
    assert set(first_terms(stage)) == set(stage.term_weights) == {"pose"}


def test_the_reference_stays_while_the_network_is_trained(tmp_path):
    stage = fine_tuning()
    before = copy.deepcopy(stage.pretrained.state_dict())
    Run(tmp_path, ONE_CPU).train(1, stage)
    after = stage.pretrained.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    trained = stage.result().encoder.state_dict()
    assert any(not torch.equal(before[name], trained[name]) for name in before)


def test_regularisation_keeps_the_attention(tmp_path):
    """After the same steps on the source, the distance on target images is less than half with the term."""
    schedule = replace(SCHEDULE, steps=40, learning_rate=3e-3)
    distance = {}
    for weight in (0.0, 300.0):
        stage = fine_tuning(replace(PLAIN, schedule=schedule, attention_weight=weight))
        Run(tmp_path / f"{weight:g}", ONE_CPU).train(1, stage)
        images = context().target_frames.batches(24).batch(0).rgb
        distance[weight] = with_trainer(stage).attention_term(images).item()
    assert distance[300.0] < 0.5 * distance[0.0]


def test_training_finds_corners_it_has_not_seen(tmp_path):
    """Of another seed; an untrained network is off by half of the image."""
    schedule = replace(SCHEDULE, steps=150, learning_rate=2e-3)
    stage = fine_tuning(replace(PLAIN, schedule=schedule, batch_size=16, attention_weight=0.0), target=None)
    test = squares(40, seed=9)
    errors = []
    for network in (copy.deepcopy(stage.network), None):
        if network is None:
            Run(tmp_path, ONE_CPU).train(1, stage)
            network = stage.result()
        with torch.no_grad():
            predicted = network.eval().predict(test.rgb)
        errors.append((predicted.uv_px - test.uv_px).norm(dim=-1).mean().item())
    assert errors[1] < 0.5 * errors[0]
