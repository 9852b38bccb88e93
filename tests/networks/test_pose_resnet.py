from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from posebridge.errors import InputError
from posebridge.networks.encoder_decoder import create_encoder
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig

SMALL = PoseResNetConfig(encoder="test_resnet", encoder_stride=16, decoder_channels=8, joints=5)


def one_line(config: PoseResNetConfig) -> str:
    with pytest.raises(InputError) as error:
        PoseResNet(config)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("encoder", ["test_resnet", "test_convnext"])
def test_maps_have_an_eighth_of_the_encoders_stride(encoder, stride, skips):
    network = PoseResNet(replace(SMALL, encoder=encoder, encoder_stride=stride, skips=skips)).eval()
    assert network.map_stride == stride / 8
    heat, depth = network(torch.rand(2, 3, 64, 96))
    expected = (2, 5, 64 * 8 // stride, 96 * 8 // stride)
    assert heat.shape == depth.shape == expected


def test_a_shift_of_the_image_shifts_the_maps():
    """By one stride of the encoder, away from the border, so pixels of the maps are at multiples of the stride."""
    torch.manual_seed(0)
    network = PoseResNet(replace(SMALL, encoder_stride=8, skips=True)).eval()
    image = torch.zeros(1, 3, 160, 160)
    image[..., 64:96, 64:96] = torch.rand(3, 32, 32)
    heat, moved = (network(torch.roll(image, shift, dims=(2, 3)))[0] for shift in ((0, 0), (8, -8)))
    inner = slice(48, 112)
    assert heat[..., inner, inner].std() > 0
    assert torch.allclose(torch.roll(heat, (8, -8), (2, 3))[..., inner, inner], moved[..., inner, inner], atol=1e-6)


def test_skips_add_shallow_features():
    plain, skipping = (PoseResNet(replace(SMALL, skips=skips)) for skips in (False, True))
    assert plain.skip_levels == [-1, -1, -1]
    assert skipping.skip_levels == [2, 1, 0]  # strides 8, 4, 2
    assert sum(isinstance(lateral, nn.Conv2d) for lateral in skipping.laterals) == 3
    deep = PoseResNet(replace(SMALL, encoder_stride=8, skips=True))
    assert deep.skip_levels == [1, 0, -1]  # there are no features of stride 1
    skipping.eval()
    features = skipping.features(torch.rand(1, 3, 32, 32))
    before = skipping.maps_of(skipping.upwards(features))[0]
    for level in (0, 1, 2):
        changed = [value + (i == level) for i, value in enumerate(features)]
        assert not torch.equal(skipping.maps_of(skipping.upwards(changed))[0], before)


def test_untrained_maps_are_flat():
    torch.manual_seed(0)
    heat, depth = PoseResNet(SMALL).eval()(torch.rand(1, 3, 64, 64))
    assert heat.abs().max() < 0.5
    assert depth.abs().max() < 0.5


def test_every_parameter_has_a_gradient():
    network = PoseResNet(replace(SMALL, skips=True))
    heat, depth = network(torch.rand(2, 3, 64, 64))
    (heat.square().sum() + depth.square().sum()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    for part in (network.head, network.laterals, network.deconvolutions, network.encoder.conv1):
        assert all(parameter.grad.abs().max() > 0 for parameter in part.parameters())


def test_refusals():
    assert "test_resnet" in one_line(replace(SMALL, encoder="test_resnit"))
    assert "no model 'zzzzzz'" in one_line(replace(SMALL, encoder="zzzzzz"))
    assert "[8, 16, 32]" in one_line(replace(SMALL, encoder_stride=64))
    assert "[8, 16, 32]" in one_line(replace(SMALL, encoder_stride=4))  # maps larger than the image
    assert "no such file" in one_line(replace(SMALL, pretrained="nowhere.safetensors"))


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_local_weights_are_those_of_the_encoder(name, suffix, tmp_path):
    """A file of a complete classifier; timm names some features differently without the classifier."""
    torch.manual_seed(1)
    whole = timm.create_model(name, pretrained=False)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(whole.state_dict(), path)
    else:
        save_file(whole.state_dict(), path)
    there = {key.replace(".", "_"): value for key, value in whole.state_dict().items()}
    encoder = create_encoder(name, str(path), 16)
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, there[key.replace(".", "_")]), key
    network = PoseResNet(replace(SMALL, encoder=name, pretrained=str(path)))
    assert all(torch.equal(v, there[k.replace(".", "_")]) for k, v in network.encoder.state_dict().items())


def test_weights_of_the_encoder_alone_are_loaded(tmp_path):
    encoder = create_encoder("test_resnet", "none", 16)
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    again = create_encoder("test_resnet", str(tmp_path / "encoder.safetensors"), 16)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in encoder.state_dict().items())


def test_files_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    config = replace(SMALL, pretrained=str(path))
    other = timm.create_model("test_convnext", pretrained=False).state_dict()
    save_file(other, path)
    assert "conv1" in one_line(config)
    own = timm.create_model("test_resnet", pretrained=False).state_dict()
    save_file({name: value for name, value in own.items() if "layer2" not in name}, path)
    assert "layer2" in one_line(config)
    save_file({**own, "conv1.0.weight": torch.zeros(3, 3, 3, 3)}, path)
    assert "conv1" in one_line(config)
    for content in (b"", b"no weights", path.read_bytes()[:-100]):
        path.write_bytes(content)
        assert str(path) in one_line(config)
        (tmp_path / "weights.pth").write_bytes(content)
        one_line(replace(SMALL, pretrained=str(tmp_path / "weights.pth")))


def test_pickles_do_not_run_code(tmp_path):
    class Malice:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"conv1.0.weight": Malice()}, tmp_path / "weights.pth")
    one_line(replace(SMALL, pretrained=str(tmp_path / "weights.pth")))
    assert not (tmp_path / "ran").exists()
