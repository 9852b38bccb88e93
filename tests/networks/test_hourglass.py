"""The hourglass's shapes, its unchanged input channels, and its receptive field."""

import pytest
import torch
from torch import nn

from posebridge.networks.hourglass import Hourglass, HourglassConfig

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = HourglassConfig(blocks=3, channels=4, most_channels=12)


def hourglass(config: HourglassConfig = SMALL, inputs: int = 5) -> Hourglass:
    torch.manual_seed(0)
    return Hourglass(config, inputs)


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (32, 8)])
def test_features_have_the_size_of_the_input(size):
    network = hourglass()
    found = network(torch.rand(2, 5, *size))
    assert found.shape == (2, network.outputs, *size)


@pytest.mark.parametrize("size", [(12, 16), (16, 7), (4, 8)])
def test_sizes_that_cannot_be_halved_are_refused(size):
    with pytest.raises(ValueError, match="3 blocks needs sides that are multiples of 8"):
        hourglass()(torch.rand(1, 5, *size))


def test_papers_hourglass_has_five_blocks_each_way():
    """Supplement A; on the meta device, where tensors have shapes alone."""
    with torch.device("meta"):
        network = Hourglass(HourglassConfig(), 3 + 2 * 20)
        found = network(torch.empty(1, 43, 64, 64))
    down = [block[0] for block in network.down]
    up = [block[0] for block in network.up]
    assert [layer.out_channels for layer in down] == [64, 128, 256, 512, 1024]
    assert [layer.out_channels for layer in up] == [512, 256, 128, 64, 32]
    assert {layer.kernel_size for layer in (*down, *up)} == {(3, 3)}
    assert found.shape == (1, 32 + 43, 64, 64)


def test_no_level_is_wider_than_the_limit():
    assert [block[0].out_channels for block in hourglass().down] == [8, 12, 12]


def test_output_includes_the_unchanged_input():
    images = torch.rand(2, 5, 16, 16)
    assert torch.equal(hourglass()(images)[:, -5:], images)


def test_receptive_field_spans_nearly_the_image():
    network = hourglass().eval()
    for parameter in network.parameters():  # so that all ReLUs are active
        nn.init.constant_(parameter, 0.1)
    images = torch.rand(1, 5, 16, 16, requires_grad=True)
    network(images)[0, 0, 0, 0].backward()
    assert images.grad is not None
    seen = images.grad[0, 0] > 0
    assert seen[:15, :15].all()
    assert not seen[15].any()  # three blocks reach 14 pixels


def test_every_weight_has_a_gradient():
    network = hourglass()
    network(torch.rand(4, 5, 16, 16)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()) == 6
