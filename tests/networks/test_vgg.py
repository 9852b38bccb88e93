"""VGG features against timm's own VGG-19; weights from local files; no network."""

from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file

from posebridge.errors import InputError
from posebridge.networks import vgg
from posebridge.networks.vgg import VggConfig, VggEncoder

SMALL = VggConfig(widths=(4, 6, 8), depths=(2, 1, 1), pretrained="none")


def _tensors(config: VggConfig) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return VggEncoder(replace(config, pretrained="none")).state_dict()


def test_the_default_is_vgg19_up_to_relu4_1():
    with torch.device("meta"):
        reference = timm.create_model("vgg19", pretrained=False).features[:21]
    ours = VggEncoder(VggConfig(pretrained="none"))
    expected = {f"features.{name}": value.shape for name, value in reference.state_dict().items()}
    assert {name: value.shape for name, value in ours.state_dict().items()} == expected
    with torch.no_grad():
        shapes = [tuple(f.shape[1:]) for f in ours(torch.rand(1, 3, 32, 32))]
    assert shapes == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]


def test_features_are_those_of_timm_away_from_the_border():
    with torch.device("meta"):
        reference = timm.create_model("vgg19", pretrained=False).features[:12]
    ours = VggEncoder(VggConfig(widths=(64, 128, 256), depths=(2, 2, 1), pretrained="none"))
    reference.load_state_dict({name.removeprefix("features."): v for name, v in ours.state_dict().items()}, assign=True)
    images = torch.rand(1, 3, 48, 48)
    normal = (images - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    with torch.no_grad():
        expected, found = reference(normal), ours(images)[-1]
    assert torch.allclose(found[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4], atol=1e-5)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_come_from_a_local_file(tmp_path, suffix):
    tensors = _tensors(SMALL) | {"classifier.0.weight": torch.zeros(2, 2)}
    path = tmp_path / f"vgg{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    torch.manual_seed(9)
    encoder = VggEncoder(replace(SMALL, pretrained=str(path)))
    assert all(torch.equal(value, tensors[name]) for name, value in encoder.state_dict().items())


def test_files_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file(_tensors(SMALL), path)
    with pytest.raises(InputError, match=r"features\.\d+\.(weight|bias)"):
        VggEncoder(VggConfig(pretrained=str(path)))
    for name, content in (("broken.safetensors", b"{}"), ("broken.pth", b"nothing")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            VggEncoder(replace(SMALL, pretrained=str(tmp_path / name)))
    for name in ("absent.safetensors", "absent.pth"):
        with pytest.raises(InputError):
            VggEncoder(replace(SMALL, pretrained=str(tmp_path / name)))


def test_a_failed_download_names_both_alternatives(monkeypatch):
    def offline(_hub_id):
        raise FileNotFoundError("no such host")

    monkeypatch.setattr(vgg, "load_state_dict_from_hf", offline)
    with pytest.raises(InputError, match=r"--feature-weights FILE.*--feature-weights none"):
        VggEncoder(VggConfig())


def test_a_download_that_succeeds_is_loaded(monkeypatch):
    tensors = _tensors(SMALL)
    monkeypatch.setattr(vgg, "load_state_dict_from_hf", lambda _hub_id: tensors)
    encoder = VggEncoder(replace(SMALL, pretrained="timm"))
    assert all(torch.equal(value, tensors[name]) for name, value in encoder.state_dict().items())
