import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from posebridge.errors import InputError
from posebridge.networks.weights import load_weights, read_weights, save_weights


def net(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))


def refused(act) -> str:
    with pytest.raises(InputError) as error:
        act()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_weights_and_buffers_survive_saving(tmp_path):
    one, other = net(), net()
    one(torch.randn(2, 3, 8, 8))  # changes the statistics
    save_weights(one, tmp_path / "new" / "w.safetensors")
    load_weights(other, tmp_path / "new" / "w.safetensors")
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    assert load_file(tmp_path / "new" / "w.safetensors").keys() == one.state_dict().keys()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["w.safetensors"]


def test_the_same_weights_are_the_same_bytes(tmp_path):
    one = net()
    save_weights(one, tmp_path / "a")
    save_weights(one, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_memory_layouts_make_no_difference(tmp_path):
    one, other = net().to(memory_format=torch.channels_last), net()
    save_weights(one, tmp_path / "w")
    load_weights(other, tmp_path / "w")
    assert torch.equal(one[0].weight, other[0].weight)


def test_weights_of_another_network_are_refused(tmp_path):
    save_weights(net(5), tmp_path / "w")
    other = net()
    before = other[0].weight.clone()
    message = refused(lambda: load_weights(other, tmp_path / "w"))
    assert "0.bias is (5,) there and (4,) here" in message
    assert torch.equal(other[0].weight, before)
    save_weights(net()[0], tmp_path / "part")
    assert "absent" in refused(lambda: load_weights(net(), tmp_path / "part"))


def test_missing_and_truncated_files_are_refused(tmp_path):
    assert "does not exist" in refused(lambda: read_weights(tmp_path / "w"))
    save_weights(net(), tmp_path / "w")
    whole = (tmp_path / "w").read_bytes()
    for content in (b"", b"text", whole[:-1], whole[:50]):
        (tmp_path / "w").write_bytes(content)
        assert str(tmp_path / "w") in refused(lambda: read_weights(tmp_path / "w"))
    refused(lambda: read_weights(tmp_path))


def test_unwritable_place_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused(lambda: save_weights(net(), tmp_path / "file" / "w"))


def changed(path, name: str, value: torch.Tensor) -> None:
    """Another tool writes the file with one tensor replaced."""
    save_file({**load_file(path), name: value}, path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    save_weights(net(), tmp_path / "w")
    changed(tmp_path / "w", "0.bias", torch.tensor([0, 0, value, 0]))
    assert "0.bias are not finite" in refused(lambda: load_weights(net(), tmp_path / "w"))
    diverged = net()
    diverged[0].bias.data[2] = value
    assert "training has diverged" in refused(lambda: save_weights(diverged, tmp_path / "v"))


def test_weights_of_another_type(tmp_path):
    save_weights(net(), tmp_path / "w")
    changed(tmp_path / "w", "0.bias", torch.zeros(4, dtype=torch.int64))
    assert "0.bias are torch.int64, expected torch.float32" in refused(lambda: load_weights(net(), tmp_path / "w"))
    changed(tmp_path / "w", "0.bias", torch.ones(4, dtype=torch.float16))
    other = net()
    load_weights(other, tmp_path / "w")
    assert torch.equal(other[0].bias, torch.ones(4))


def test_every_flipped_bit_is_noticed(tmp_path):
    save_weights(net(), tmp_path / "w")
    whole = (tmp_path / "w").read_bytes()
    for position in range(8, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        (tmp_path / "w").write_bytes(damaged)
        try:
            load_weights(net(), tmp_path / "w")
        except InputError:
            continue
        assert position < 8 + int.from_bytes(whole[:8], "little")  # spelling of the header alone
        values = load_file(tmp_path / "w")
        (tmp_path / "w").write_bytes(whole)
        assert all(torch.equal(value, values[name]) for name, value in load_file(tmp_path / "w").items())


def test_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "w")
    assert "no file" in refused(lambda: read_weights(tmp_path / "w"))
