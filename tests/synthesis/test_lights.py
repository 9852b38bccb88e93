"""Lights: physical ranges, and the given distribution."""

import numpy as np
import torch

from posebridge.synthesis.lights import LightDistribution, sample_lighting, sample_lights


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_lights():
    distribution = LightDistribution(number=(1, 3), key_light=(0.5, 1.0), colour=0.0, ambient=(0.2, 0.4))
    lights = sample_lights(distribution, 3000, _generator())
    torch.testing.assert_close(lights.direction.norm(dim=-1), torch.ones(3000, 3))
    assert (lights.direction[..., 2] < 0).all()  # in front: the camera looks along z
    assert (lights.direction[..., 1] < 0).float().mean() > 0.6  # more often from above: v points down
    on = (lights.colour > 0).all(-1)
    assert on[:, 0].all()
    shares = np.bincount(on.sum(1).numpy(), minlength=4) / 3000
    np.testing.assert_allclose(shares, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.03)
    assert lights.colour[on].min() > 0.5 / 3**0.5 - 1e-5
    assert lights.colour.max() <= 1.0
    level = lights.ambient[:, 0] * 0.282095  # the constant harmonic
    assert 0.2 <= level.min() < level.max() <= 0.4 + 1e-6


def test_a_domain_may_have_no_lamp():
    lights = sample_lights(LightDistribution(number=(0, 1)), 500, _generator())
    assert torch.isfinite(lights.colour).all()
    assert 0.4 < (lights.colour.amax((1, 2)) == 0).float().mean() < 0.6


def test_gloss_and_shadows_follow_the_distribution():
    light = sample_lighting(LightDistribution(specular=(0.02, 0.05), shadow_share=0.25), 4000, _generator())
    assert 0.02 <= light.specular.min() < light.specular.max() <= 0.05
    assert 0.22 < light.shadowed.float().mean() < 0.28
