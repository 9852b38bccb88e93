"""The vision transformer against PyTorch's own transformer, and its attention rows against whole matrices."""

import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from posebridge.errors import InputError
from posebridge.networks.masked_autoencoder import AutoencoderConfig, MaskedAutoencoder
from posebridge.networks.vision_transformer import (
    ViTConfig,
    ViTEncoder,
    patchify,
    sine_cosine_positions,
    take_tokens,
    unpatchify,
)

CONFIG = ViTConfig(size_px=32, patch_px=8, width=24, depth=3, heads=3)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    made = ViTEncoder(CONFIG)
    for parameter in made.parameters():
        if parameter.ndim == 1 and parameter.requires_grad:  # biases and norms, which start at 0 and 1
            nn.init.normal_(parameter, 1.0, 0.3)
    return made


def torch_layers(encoder: ViTEncoder) -> list[nn.TransformerEncoderLayer]:
    """PyTorch's pre-norm layers with the encoder's weights."""
    layers = []
    for block in encoder.blocks:
        layer = nn.TransformerEncoderLayer(
            CONFIG.width, CONFIG.heads, 4 * CONFIG.width, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True
        )
        layer.load_state_dict(
            {
                "self_attn.in_proj_weight": block.attn.qkv.weight,
                "self_attn.in_proj_bias": block.attn.qkv.bias,
                "self_attn.out_proj.weight": block.attn.proj.weight,
                "self_attn.out_proj.bias": block.attn.proj.bias,
                "linear1.weight": block.mlp.fc1.weight,
                "linear1.bias": block.mlp.fc1.bias,
                "linear2.weight": block.mlp.fc2.weight,
                "linear2.bias": block.mlp.fc2.bias,
                "norm1.weight": block.norm1.weight,
                "norm1.bias": block.norm1.bias,
                "norm2.weight": block.norm2.weight,
                "norm2.bias": block.norm2.bias,
            }
        )
        layers.append(layer.train())  # evaluation would take a fused path
    return layers


def with_class_token(encoder: ViTEncoder, tokens: torch.Tensor) -> torch.Tensor:
    token = encoder.vit.cls_token + encoder.vit.pos_embed[:, :1]
    return torch.cat([token.expand(len(tokens), -1, -1), tokens], dim=1)


def test_encoder_equals_pytorchs_layers_for_a_part_of_the_tokens(encoder):
    tokens = encoder.tokens(torch.rand(2, 3, 32, 32))[:, [1, 4, 9]]
    expected = with_class_token(encoder, tokens)
    for layer in torch_layers(encoder):
        expected = layer(expected)
    torch.testing.assert_close(encoder(tokens), encoder.vit.norm(expected), atol=2e-5, rtol=1e-5)


def test_class_rows_equal_those_of_whole_matrices(encoder):
    """Values and gradients; the entry of the class token itself is left out."""
    images = torch.rand(2, 3, 32, 32)
    rows = encoder.class_attention(images)
    x, whole = with_class_token(encoder, encoder.tokens(images)), []
    for block, layer in zip(encoder.blocks, torch_layers(encoder), strict=True):
        y = block.norm1(x)
        matrices = layer.self_attn(y, y, y, need_weights=True, average_attn_weights=False)[1]
        whole.append(matrices[:, :, 0, 1:])
        x = layer(x)
    expected = torch.stack(whole)
    assert rows.shape == (3, 2, 3, CONFIG.patches)
    torch.testing.assert_close(rows, expected, atol=1e-6, rtol=0)
    assert (rows.sum(-1) < 1).all()

    weight = next(encoder.blocks).attn.qkv.weight
    (gradient,) = torch.autograd.grad(rows.square().sum(), weight)
    assert gradient[: 2 * CONFIG.width].abs().max() > 1e-4  # of queries and keys


def test_rows_can_be_taken_from_a_part_of_the_tokens(encoder):
    tokens = encoder.tokens(torch.rand(2, 3, 32, 32))[:, :5]
    rows: list[torch.Tensor] = []
    with_rows = encoder(tokens, rows)
    assert [row.shape for row in rows] == [(2, 3, 5)] * 3
    torch.testing.assert_close(with_rows, encoder(tokens))


def test_patches_are_in_rows_of_pixels_and_come_back():
    images = torch.arange(2 * 3 * 8 * 8.0).view(2, 3, 8, 8)
    patches = patchify(images, 4)
    assert patches.shape == (2, 4, 48)
    assert patches[0, 1, :6].tolist() == [4, 68, 132, 5, 69, 133]  # the top right patch: two pixels of three channels
    assert torch.equal(unpatchify(patches, 4), images)


def test_a_patch_token_depends_on_its_own_pixels_alone(encoder):
    images = torch.rand(1, 3, 32, 32)
    changed = images.clone()
    changed[:, :, 8:16, 16:24] += 0.1  # second row, third column
    differs = (encoder.tokens(images) - encoder.tokens(changed)).abs().amax(-1)[0] > 1e-6
    assert differs.nonzero()[:, 0].tolist() == [4 + 2]


def test_positions_are_sines_and_cosines_of_column_and_row():
    positions = sine_cosine_positions(8, 3)
    column, row = 2, 1
    patch = positions[1 + 3 * row + column]
    slow = 1 / math.sqrt(10_000)
    expected = [f(t * w) for t in (column, row) for f in (math.sin, math.cos) for w in (1.0, slow)]
    torch.testing.assert_close(patch, torch.tensor(expected))
    assert positions[0].abs().max() == 0


def test_tokens_at_an_index():
    tokens = torch.rand(2, 4, 3)
    taken = take_tokens(tokens, torch.tensor([[3, 0], [1, 2]]))
    assert torch.equal(taken, torch.stack([tokens[0, [3, 0]], tokens[1, [1, 2]]]))


def test_positions_are_not_trained(encoder):
    assert not any("pos_embed" in name for name, value in encoder.named_parameters() if value.requires_grad)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size_px": 100, "patch_px": 16}, "100 px can't be cut into patches of 16 px"),
        ({"size_px": 8, "patch_px": 16}, "8 px can't be cut"),
        ({"width": 100, "heads": 3}, "100 is no multiple of 3 heads"),
        ({"width": 30, "heads": 3}, "30 is no multiple of 4"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        ViTConfig(**changes)


def test_images_of_another_size_are_refused(encoder):
    with pytest.raises(InputError, match="takes images of 32 px, and these have \\(64, 64\\)"):
        encoder.encode(torch.rand(1, 3, 64, 64))


def with_weights(path, **changes) -> ViTEncoder:
    return ViTEncoder(ViTConfig(**{**vars(CONFIG), "pretrained": str(path), **changes}))


def test_weights_come_from_timms_names_and_from_our_own_files(tmp_path, encoder):
    autoencoder = MaskedAutoencoder(AutoencoderConfig(CONFIG, 16, 2))
    images = torch.rand(1, 3, 32, 32)
    files = {"public": encoder.vit, "stage": autoencoder, "encoder": encoder}
    for name, module in files.items():
        state = {key: value.contiguous() for key, value in module.state_dict().items()}
        save_file(state, tmp_path / f"{name}.safetensors")
    for name, trained in (("public", encoder), ("stage", autoencoder.encoder), ("encoder", encoder)):
        loaded = with_weights(tmp_path / f"{name}.safetensors")
        torch.testing.assert_close(loaded.encode(images), trained.encode(images))


def test_positions_of_another_grid_are_interpolated(tmp_path, encoder):
    save_file(encoder.vit.state_dict(), tmp_path / "small.safetensors")
    larger = with_weights(tmp_path / "small.safetensors", size_px=64)
    assert larger.vit.pos_embed.shape == (1, 65, 24)
    torch.testing.assert_close(next(larger.blocks).attn.qkv.weight, next(encoder.blocks).attn.qkv.weight)


def test_weights_that_do_not_fit_are_refused(tmp_path, encoder):
    save_file(encoder.vit.state_dict(), tmp_path / "three.safetensors")
    with pytest.raises(InputError, match="no such file"):
        with_weights(tmp_path / "missing.safetensors")
    with pytest.raises(InputError, match=r"blocks\.3\.norm1\.weight: it isn't a transformer of width 24, depth 4"):
        with_weights(tmp_path / "three.safetensors", depth=4)
    with pytest.raises(InputError, match="can't be read as a transformer of width 48"):
        with_weights(tmp_path / "three.safetensors", width=48)
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(InputError, match="can't be read as weights"):
        with_weights(tmp_path / "text.safetensors")
    with pytest.raises(InputError, match="no public masked autoencoder has this size"):
        with_weights("timm")
