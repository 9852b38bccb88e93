"""Erased rectangles of depth: their size and frequency."""

import torch

from posebridge.data.erase import erased
from posebridge.draw import generator_for


def test_rectangles_have_the_given_size_and_frequency():
    depth_m = torch.ones(400, 64, 64)
    holed = erased(depth_m, generator_for(0, 1), share=0.4, side=(0.25, 0.5))
    gone = holed == 0
    hit = gone.flatten(1).any(1)
    assert 0.3 < hit.float().mean() < 0.5
    for mask in gone[hit]:
        rows, columns = mask.any(1), mask.any(0)
        assert mask.sum() == rows.sum() * columns.sum()  # a rectangle
        assert 15 <= rows.sum() <= 33
        assert 15 <= columns.sum() <= 33
    assert torch.equal(erased(depth_m, generator_for(0, 1), share=0.4, side=(0.25, 0.5)), holed)


def test_probability_zero_erases_nothing():
    depth_m = torch.rand(5, 8, 8)
    assert torch.equal(erased(depth_m, generator_for(0, 1), share=0.0), depth_m)
