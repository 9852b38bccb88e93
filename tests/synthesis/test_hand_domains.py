"""Named domains. The two of SynthShift are frozen, as their samples define the benchmark."""

from dataclasses import replace

import pytest
import torch

from posebridge.errors import InputError
from posebridge.synthesis.domains import find_domain
from posebridge.synthesis.hand_domains import HAND_DOMAINS, STREET, STUDIO, VARIED
from posebridge.synthesis.stream import Samples

# Mean colour of the first samples of seed 0 at 32 px, and the mean of their joints' (u, v). These numbers change only
# with a new version of the benchmark: results of SynthShift before and after can't be compared.
FINGERPRINTS = {
    "studio": (
        [
            (0.963, 0.881, 0.820),
            (0.763, 0.851, 0.878),
            (0.602, 0.571, 0.528),
            (0.657, 0.626, 0.563),
            (0.517, 0.472, 0.394),
            (0.840, 0.851, 0.703),
        ],
        (14.53, 12.82),
    ),
    "street": (
        [
            (0.325, 0.245, 0.334),
            (0.316, 0.330, 0.305),
            (0.567, 0.468, 0.481),
            (0.311, 0.243, 0.249),
            (0.347, 0.304, 0.251),
            (0.440, 0.447, 0.376),
        ],
        (15.21, 13.72),
    ),
}


@pytest.mark.parametrize("domain", [STUDIO, STREET], ids=lambda domain: domain.name)
def test_synthshift_is_frozen(domain):
    colours, middle = FINGERPRINTS[domain.name]
    batch = Samples(domain, 32, seed=0).samples(0, len(colours))
    torch.testing.assert_close(batch.rgb.mean((2, 3)), torch.tensor(colours), atol=0.02, rtol=0)
    torch.testing.assert_close(batch.uv_px.mean((0, 1)), torch.tensor(middle), atol=0.1, rtol=0)


def test_domains_by_name():
    assert {name: domain.name for name, domain in HAND_DOMAINS.items()} == {name: name for name in HAND_DOMAINS}
    assert [find_domain("hand-rgb", name) for name in ("studio", "street", "varied")] == [STUDIO, STREET, VARIED]
    with pytest.raises(InputError, match=r"hand-rgb has no domain 'moon': choose one of studio, street, varied$"):
        find_domain("hand-rgb", "moon")


def test_only_the_street_and_the_varied_look_are_cluttered():
    def edges(domain):
        quiet = replace(domain, sensor=STUDIO.sensor)
        batch = Samples(quiet, 32, seed=0).samples(0, 32)
        steps = batch.rgb.diff(dim=-1).abs().amax(1)
        behind = (batch.depth_label_m[..., 1:] == 0) & (batch.depth_label_m[..., :-1] == 0)
        return steps[behind].quantile(0.9).item()

    assert edges(STUDIO) < 0.05
    assert min(edges(STREET), edges(VARIED)) > 2 * edges(STUDIO)


def test_sleeves_of_the_street_do_not_cover_the_hand():
    """The same hands with and without sleeves differ below the wrist only."""
    quiet = replace(
        STREET,
        sensor=replace(STUDIO.sensor, noise_probability=0.0),
        occluders=replace(STREET.occluders, share=0.0),
    )
    dressed, bare = (
        Samples(replace(quiet, skin=replace(STREET.skin, sleeve_share=share)), 64, 0).chunk(0) for share in (1.0, 0.0)
    )
    changed = (dressed.rgb - bare.rgb).abs().amax(1) > 0.02
    assert changed.flatten(1).any(1).float().mean() > 0.25  # many crops contain little forearm
    wrist, knuckle = bare.uv_px[:, 0], bare.uv_px[:, 9]
    palm_px = (knuckle - wrist).norm(dim=-1)
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    from_wrist = torch.stack([column, row], dim=-1) - wrist[:, None, None]
    upwards = (from_wrist * ((knuckle - wrist) / palm_px[:, None])[:, None, None]).sum(-1)
    on_hand = (upwards > 6) & (palm_px > 10)[:, None, None]  # except where the hand points at the camera
    assert not (changed & on_hand).any()
