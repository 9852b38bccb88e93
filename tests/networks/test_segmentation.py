"""The segmentation network: sizes, layers of the supplement's table, and what it refuses."""

import pytest
import torch
from torch import nn

from posebridge.errors import InputError
from posebridge.networks.segmentation import SegmentationConfig, SegmentationNetwork

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = SegmentationConfig(width=4, most_channels=32)


def network(config: SegmentationConfig = TINY) -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(config)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96), (128, 64)])
def test_logits_have_the_size_of_the_images(height, width):
    logits = network().eval()(torch.rand(2, 3, height, width))
    assert logits.shape == (2, height, width)
    assert logits.min() < 0 or logits.max() > 1  # no sigmoid


def test_layers_are_those_of_the_table():
    layers = [module for module in network().modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 1 + 5 * 2 + 4 * 2 + 2 + 1  # stem, five levels, four decoders, last pair, output
    # One batch norm follows the stem and the first convolution of each pair.
    kinds = ["N" if isinstance(layer, nn.BatchNorm2d) else "C" for layer in layers]
    assert "".join(kinds) == "CN" + 10 * "CNC" + "C"
    assert [layer.out_channels for layer in convolutions] == (
        [4, *(4, 4, 8, 8, 16, 16, 32, 32, 32, 32), *(32, 32, 16, 16, 8, 8, 4, 4), 4, 4, 1]
    )


def test_default_channels_are_those_of_the_unet():
    assert [SegmentationConfig().channels(level) for level in range(5)] == [64, 128, 256, 512, 1024]


def test_every_pixel_is_seen_at_full_resolution_and_from_afar():
    images = torch.zeros(1, 3, 64, 64, requires_grad=True)
    network().eval()(images)[0, 20, 20].backward()
    assert images.grad is not None
    reached = images.grad.abs().sum((0, 1)) > 0
    assert reached[20, 20]
    assert reached[63, 63]  # through stride 32


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 72)])
def test_other_sizes_are_refused(height, width):
    with pytest.raises(InputError, match=rf"multiples of 32 px, and these have {width}x{height} px"):
        network()(torch.rand(1, 3, height, width))
