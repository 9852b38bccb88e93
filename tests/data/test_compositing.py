"""Exchange of backgrounds behind masks."""

import torch

from posebridge.data.compositing import composite


def test_only_a_pixel_around_the_edge_is_mixed():
    mask = torch.zeros(1, 12, 12, dtype=torch.bool)
    mask[:, 4:8, 4:8] = True
    images, backgrounds = torch.full((1, 3, 12, 12), 0.2), torch.full((1, 3, 12, 12), 0.8)
    found = composite(images, mask, backgrounds)
    assert torch.allclose(found[0, :, 5:7, 5:7], torch.tensor(0.2))
    outside = torch.ones(12, 12, dtype=torch.bool)
    outside[3:9, 3:9] = False
    assert torch.allclose(found[0, :, outside], torch.tensor(0.8))
    edge = found[0, 0, 5, 4]  # two thirds of its neighbours are foreground
    assert torch.isclose(edge, torch.tensor(0.2 * 2 / 3 + 0.8 / 3))


def test_masks_without_an_edge():
    images, backgrounds = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    everything, nothing = torch.ones(2, 8, 8, dtype=torch.bool), torch.zeros(2, 8, 8, dtype=torch.bool)
    assert torch.equal(composite(images, everything, backgrounds), images)
    assert torch.equal(composite(images, nothing, backgrounds), backgrounds)
