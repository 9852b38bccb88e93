import dataclasses
import os
import pickle

import pytest
import torch

from deployment.rigged import SMALL, SPEC, change_entry, small_model
from posebridge.deployment.model_file import load_model
from posebridge.errors import InputError
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig
from posebridge.networks.weights import save_weights


@pytest.mark.parametrize("name", [".", "model.safetensors", "model.json"])
def test_round_trip_is_bit_equal(tmp_path, name):
    saved = small_model(tmp_path)
    model = load_model(tmp_path / name)
    loaded = model.network
    assert model.spec == SPEC
    assert not loaded.training
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for ours, theirs in zip(saved(images), loaded(images), strict=True):
            assert torch.equal(ours, theirs)


def test_loading_needs_no_pretrained_weights(tmp_path):
    small_model(tmp_path, dataclasses.replace(SPEC, network=SMALL))
    change_entry(tmp_path, "network", "pretrained", "timm")
    assert load_model(tmp_path).spec.network.pretrained == "none"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (("skeleton", "octopus8"), "unknown skeleton 'octopus8'"),
        (("skeleton", "coco17"), "21 joints don't match skeleton coco17"),
        (("network", "joints", "21"), "joints is '21'"),
        (("network", "decoder_channels", 16), "weights of another network"),
        (("network", "encoder", "no_such_net"), "timm has no model 'no_such_net'"),
        (("maps", "heatmap_type", "guess"), "heatmap_type is 'guess'"),
        (("size_px", True), "size_px is True"),
        (("format", 99), "written by another version"),
        (
            ("format", 1),
            r"written by another version of posebridge \(format 1, this one reads 2\): train the model again",
        ),
        (
            ("kind", "crystal-ball"),
            "unknown kind of model 'crystal-ball'; this version has pose, volume-pose, ",
        ),
        (("surprise", 1), "doesn't describe a model"),
        (("network", None), "doesn't describe a model"),
        (("size_px", 0), "size_px 0 is impossible"),
        (("network", "decoder_channels", -8), r"network\.decoder_channels -8 is impossible"),
        (("network", "decoder_channels", 10**9), r"network\.decoder_channels 1000000000 is impossible"),
        (("maps", "sigma", "nan"), r"maps\.sigma nan is impossible"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(tmp_path, entry, message):
    small_model(tmp_path)
    change_entry(tmp_path, *entry)
    one_line(tmp_path, message)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1', "\x00\xff"])
def test_broken_descriptions(tmp_path, text):
    small_model(tmp_path)
    (tmp_path / "model.json").write_text(text, encoding="latin-1")
    one_line(tmp_path, "doesn't describe a model")


def test_broken_or_foreign_weights(tmp_path):
    small_model(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    one_line(tmp_path, "is not a whole safetensors file")
    save_weights(PoseResNet(PoseResNetConfig("test_resnet", joints=17, decoder_channels=8)), weights)
    one_line(tmp_path, r"weights of another network: head\.bias is \(34,\) there and \(42,\) here")
    weights.unlink()
    one_line(tmp_path, "does not exist")


def test_other_folders_are_refused(tmp_path):
    one_line(tmp_path / "absent", "no such file or folder")
    one_line(tmp_path, "holds no model.json")
    small_model(tmp_path)
    (tmp_path / "last.ckpt").write_bytes(b"")
    one_line(tmp_path / "last.ckpt", "is no model")


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_loading_executes_no_code(tmp_path):
    small_model(tmp_path)
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    (tmp_path / "encoder.pth").write_bytes(trap)
    change_entry(tmp_path, "network", "pretrained", str(tmp_path / "encoder.pth"))
    load_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(trap)
    one_line(tmp_path, "is not a whole safetensors file")
    torch.save({"head.bias": Trap(tmp_path / "sprung")}, tmp_path / "model.safetensors")
    one_line(tmp_path, "is not a whole safetensors file")
    assert not (tmp_path / "sprung").exists()


def one_line(path, message):
    with pytest.raises(InputError, match=message) as raised:
        load_model(path)
    assert "\n" not in str(raised.value)
