from dataclasses import replace

import pytest
import torch
from torch import nn

from posebridge.errors import InputError
from posebridge.networks.pose_vit import PoseViT, PoseViTConfig
from posebridge.networks.vision_transformer import ViTConfig
from posebridge.representations.heatmaps import image_from_map
from posebridge.representations.pose25d import relative_depth
from posebridge.representations.pose_volumes import PoseVolumes
from posebridge.training.supervision import volume_term
from training.dots import SIDE, SKELETON, dots

TINY = PoseViTConfig(ViTConfig(size_px=SIDE, patch_px=8, width=32, depth=2, heads=2), joints=3, head_channels=32)
VOLUMES = PoseVolumes("softmax", sigma=1.0, depth_bins=8, depth_range=2.0)


def network(volumes: PoseVolumes = VOLUMES, seed: int = 0) -> PoseViT:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PoseViT(TINY, volumes)


def images(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def test_the_head_is_that_of_the_table():
    """Two deconvolutions with ReLU before batch norm, then a 1x1 convolution to K D channels."""
    layers = list(network().head.deconvolutions)
    assert [type(layer) for layer in layers] == 2 * [nn.ConvTranspose2d, nn.ReLU, nn.BatchNorm2d]
    for layer in (layers[0], layers[3]):
        assert (layer.kernel_size, layer.stride, layer.out_channels) == ((4, 4), (2, 2), 32)
    last = network().head.volumes
    assert (last.kernel_size, last.out_channels) == ((1, 1), 3 * 8)


def test_the_published_network_has_volumes_of_64():
    with torch.device("meta"):
        head = PoseViT(PoseViTConfig(ViTConfig(depth=1))).head
        volumes = head(torch.empty(1, 256, 768))
    assert volumes.shape == (1, 21, 64, 64, 64)


def test_patches_keep_their_place():
    """A feature of one patch reaches the map pixels around that patch, and no others."""
    tokens = torch.zeros(1, 16, 32)
    head = network().head.eval()
    with torch.no_grad():
        changed = head(tokens.index_fill(1, torch.tensor([6]), 1.0)) - head(tokens)  # row 1, column 2
    where = (changed.abs().amax(dim=(1, 2)) > 0)[0].nonzero()
    rows, columns = (where[:, axis] for axis in (0, 1))
    assert (rows.min(), rows.max()) == (1, 10)  # pixels 4 to 7 and three beside them
    assert (columns.min(), columns.max()) == (5, 14)


@pytest.mark.parametrize("volume_type", ["softmax", "peak"])
def test_poses_are_decoded_volumes(volume_type):
    made = network(PoseVolumes(volume_type, depth_bins=8)).eval()
    with torch.no_grad():
        volumes, poses = made(images()), made.predict(images())
    assert volumes.shape == (2, 3, 8, 16, 16)
    read = made.volumes.decode(volumes)
    assert torch.equal(poses.uv_px, image_from_map(read.uv_map, (SIDE, SIDE), (16, 16)))
    assert torch.equal(poses.confidence, read.confidence)
    assert torch.equal(poses.relative_depth, read.relative_depth)
    assert poses.joints_m is None
    assert made.cube_m is None


def test_poses_are_float32_in_half_precision():
    made = network().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        poses = made.predict(images())
    assert poses.uv_px.dtype == poses.relative_depth.dtype == torch.float32


def test_images_of_another_size_are_refused():
    with pytest.raises(InputError, match="takes images of 32 px"):
        network().predict(torch.zeros(1, 3, 40, 40))


def test_weights_of_the_encoder_are_the_encoders():
    made = network()
    encoder = {id(parameter) for parameter in made.encoder_parameters()}
    others = {name for name, parameter in made.named_parameters() if id(parameter) not in encoder}
    assert others == {name for name, _ in made.named_parameters() if name.startswith("head.")}


def test_training_finds_dots_in_the_image_and_in_depth():
    """By the supervised term alone, of dots that are the farther the more they are to the right."""
    made, batch = network(), dots(8, seed=1)
    assert batch.uv_px is not None
    assert batch.joints_m is not None
    right = 0.5 * batch.uv_px[..., 0] / SIDE
    batch = replace(batch, joints_m=torch.cat([batch.joints_m[..., :2], 1 + right[..., None]], dim=-1))
    optimiser = torch.optim.AdamW(made.parameters(), lr=5e-3)
    for _ in range(60):
        optimiser.zero_grad()
        volume_term(made.volumes, made(batch.rgb), batch, SKELETON).backward()
        optimiser.step()
    depth = relative_depth(batch.joints_m, SKELETON)
    assert depth.std() > 0.25
    for decoding in ("maximum", "mean"):
        made.volumes = replace(VOLUMES, decoding=decoding)
        with torch.no_grad():
            poses = made.eval().predict(batch.rgb)
        assert (poses.uv_px - batch.uv_px).norm(dim=-1).median() < 0.5
        assert (poses.relative_depth - depth).abs().median() < 0.1
