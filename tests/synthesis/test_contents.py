"""Contents recur: the same scene behind other hands, in every set of a domain."""

import pytest
import torch

from posebridge.data.render_config import RenderConfig
from posebridge.data.rendered_set import describe, open_samples
from posebridge.errors import InputError
from posebridge.synthesis.depth_scene import DEPTH_STUDIO
from posebridge.synthesis.hand_domains import STUDIO
from posebridge.synthesis.stream import CHUNK, Samples

SIZE, CONTENTS = 32, 3


@pytest.fixture(scope="module")
def batches():
    return {seed: Samples(STUDIO, SIZE, seed, contents=CONTENTS).chunk(0) for seed in (4, 5)}


def number(sequence: str) -> int:
    return int(sequence.rpartition("content")[2])


def test_images_of_one_content_share_their_background(batches):
    """Pixels without a hand are equal within a content, over both sets, and differ between contents."""
    seen: dict[int, torch.Tensor] = {}
    for batch in batches.values():
        for image, mask, sequence in zip(batch.rgb, batch.mask, batch.sequence, strict=True):
            background = seen.setdefault(number(sequence), torch.full_like(image, torch.nan))
            known = ~mask & background[0].isfinite()
            torch.testing.assert_close(image[:, known], background[:, known], atol=0.03, rtol=0)
            background[:, ~mask] = image[:, ~mask]
    assert sorted(seen) == [*range(CONTENTS)]
    for i in range(1, CONTENTS):
        both = (seen[0].isfinite() & seen[i].isfinite())[0]
        assert (seen[0] - seen[i])[:, both].abs().mean() > 0.03


def test_poses_differ(batches):
    batch = batches[4]
    assert len({tuple(pose.flatten().tolist()) for pose in batch.joints_m}) == CHUNK
    assert len(set(batch.key)) == CHUNK
    assert batch.frame.tolist() == [*range(CHUNK)]


def test_a_chunk_is_a_function_of_its_number(batches):
    again = Samples(STUDIO, SIZE, 4, contents=CONTENTS).chunk(0)
    assert torch.equal(again.rgb, batches[4].rgb)
    assert again.sequence == batches[4].sequence


def test_without_contents_sets_stay_what_they_were():
    plain = describe(RenderConfig("studio", count=64, size_px=SIZE))
    assert "contents" not in plain.made_of
    assert describe(RenderConfig("studio", count=64, size_px=SIZE, contents=2)).made_of["contents"] == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Samples(STUDIO, SIZE, 0, contents=65), "65 contents are impossible: give 1 to 64"),
        (lambda: Samples(DEPTH_STUDIO, SIZE, 0, contents=2), "contents recur in colour alone"),
        (lambda: open_samples(RenderConfig("studio", 64, frames=8, contents=2)), "videos have one content each"),
    ],
)
def test_impossible_contents(make, message):
    with pytest.raises(InputError, match=message):
        make()
