"""Pairs of frames of one sequence and view, with a stride in the given range, as a function of their number."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.pairs import FramePairs, PairConfig, PairStream, pairs_of, split_pairs
from posebridge.errors import InputError


def _pairs(sequence, frame, stride=(5, 15), view=None):
    view = [0] * len(frame) if view is None else view
    return FramePairs(sequence, torch.tensor(frame), torch.tensor(view), PairConfig(stride))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.integers(0, 1)), min_size=2, max_size=60, unique=True
    ),
    st.integers(0, 8),
    st.integers(0, 10),
)
def test_pairs_match_their_definition(frames, smallest, more):
    """Against the definition, for all pairs of frames."""
    sequence, frame, view = zip(*frames, strict=True)
    stride = (smallest, smallest + more)
    expected = {
        i: {
            j
            for j in range(len(frame))
            if (sequence[i], view[i]) == (sequence[j], view[j]) and stride[0] <= abs(frame[i] - frame[j]) <= stride[1]
        }
        for i in range(len(frame))
    }
    if not any(expected.values()):
        with pytest.raises(InputError):
            _pairs(sequence, list(frame), stride, list(view))
        return
    pairs = _pairs(sequence, list(frame), stride, list(view))
    found = {i: {int(j) for part in parts for j in part} for i, parts in enumerate(pairs._bases)}
    assert found == expected
    assert set(pairs.driving.tolist()) == {i for i, bases in expected.items() if bases}


def test_batches_are_a_function_of_their_number():
    pairs = _pairs(["a"] * 30 + ["b"] * 30, [*range(30), *range(30)])
    batches = [pairs.draw(n, 10, seed=4) for n in range(12)]
    for n in (7, 2):
        again = pairs.draw(n, 10, seed=4)
        assert torch.equal(again[0], batches[n][0])
        assert torch.equal(again[1], batches[n][1])
    for epoch in (batches[:6], batches[6:]):
        assert sorted(torch.cat([driving for _, driving in epoch]).tolist()) == list(range(60))
    assert not torch.equal(pairs.draw(0, 10, seed=5)[1], batches[0][1])


def test_bases_are_drawn_evenly_on_both_sides():
    pairs = _pairs(["a"] * 41, list(range(41)), stride=(2, 4))
    seen = Counter()
    for n in range(1500):
        base, driving = pairs.draw(n, 8, seed=0)
        for b, d in zip(base.tolist(), driving.tolist(), strict=True):
            if d == 20:
                seen[b - 20] += 1
    assert set(seen) == {-4, -3, -2, 2, 3, 4}
    assert max(seen.values()) < 1.5 * min(seen.values())


def test_a_stream_gives_base_and_driving_frames():
    count = 24
    dataset = InMemoryDataset(
        [
            UnlabelledBatch(
                image=torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, 2, 2) / 255,
                key=tuple(f"walk_{i}" for i in range(count)),
                sequence=("walk",) * count,
                frame=torch.arange(count),
            )
        ]
    )
    stream = PairStream(dataset, 6, seed=1)
    base, driving = split_pairs(stream.batch(3))
    assert len(base) == len(driving) == 6
    apart = (base.frame - driving.frame).abs()
    assert 5 <= apart.min() <= apart.max() <= 15
    assert torch.equal((base.rgb[:, 0, 0, 0] * 255).round().long(), base.frame)  # images match their numbers


def test_sets_without_pairs_are_refused():
    photos = UnlabelledBatch(image=torch.zeros(2, 3, 2, 2), key=("a", "b"))
    with pytest.raises(InputError, match=r"^pairs of frames need sequences: give a video"):
        pairs_of(photos, PairConfig())
    with pytest.raises(
        InputError, match=r"^no two frames .* 5 to 15 frames apart \(the longest of 2 sequences has 3\)"
    ):
        _pairs(["a", "a", "a", "b"], [0, 1, 2, 0])
    with pytest.raises(InputError, match=r"^stride \(5, 3\) is not a range"):
        PairConfig((5, 3))
