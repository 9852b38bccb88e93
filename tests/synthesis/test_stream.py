"""Sample i depends on the domain, the seed and i only."""

from dataclasses import fields

import pytest
import torch

from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.data.streams import StepBatches, step_loader
from posebridge.synthesis.depth_scene import DEPTH_STREET
from posebridge.synthesis.hand_domains import STREET, STUDIO
from posebridge.synthesis.stream import CHUNK, Samples

SAMPLES = Samples(STREET, 32, seed=4)


def assert_same(first: LabelledBatch, second: LabelledBatch) -> None:
    """Assert that all fields are equal, bit by bit."""
    for field in fields(LabelledBatch):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, Camera):
            a, b = a.K, b.K
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, field.name


@pytest.fixture(scope="module")
def whole():
    return concatenate(list(SAMPLES.chunks(2 * CHUNK + 5)))


def test_chunks_contain_the_requested_samples(whole):
    assert len(whole) == 2 * CHUNK + 5
    assert len(set(whole.key)) == len(whole)
    assert whole.key[CHUNK] == f"street-4-{CHUNK:08d}"
    assert [len(chunk) for chunk in SAMPLES.chunks(CHUNK)] == [CHUNK]
    assert list(SAMPLES.chunks(0)) == []


@pytest.mark.parametrize(("start", "count"), [(0, 1), (3, 7), (CHUNK - 2, 5), (CHUNK, CHUNK), (10, 2 * CHUNK - 5)])
def test_samples_do_not_depend_on_chunks(whole, start, count):
    assert_same(SAMPLES.samples(start, count), whole[start : start + count])


def test_samples_do_not_depend_on_the_global_generator(whole):
    torch.manual_seed(17)
    torch.rand(5)
    assert_same(SAMPLES.chunk(1), whole[CHUNK : 2 * CHUNK])


class Rendered:
    """Batches of 13 rendered samples."""

    def batch(self, number: int) -> LabelledBatch:
        return SAMPLES.samples(13 * number, 13)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_samples_do_not_depend_on_workers(whole, workers):
    loader = step_loader(StepBatches({"source": Rendered()}, first_step=1), workers)
    batches = iter(loader)
    for step in (1, 2, 3):
        number, drawn = next(batches)
        assert number == step
        assert_same(drawn["source"], whole[13 * step : 13 * (step + 1)])


def test_seeds_and_domains_differ(whole):
    for other in (Samples(STREET, 32, seed=5), Samples(STUDIO, 32, seed=4)):
        chunk = other.chunk(0)
        assert not set(chunk.key) & set(whole.key)
        assert (chunk.uv_px - whole.uv_px[:CHUNK]).abs().amax((1, 2)).min() > 0.1
        assert (chunk.rgb - whole.rgb[:CHUNK]).abs().amax((1, 2, 3)).min() > 0.05


def test_samples_of_a_seed_differ_among_themselves(whole):
    uv = whole.uv_px.flatten(1)
    assert (torch.cdist(uv, uv) + 1e3 * torch.eye(len(uv))).min() > 0.5


def test_sets_of_views_stay_together():
    samples = Samples(DEPTH_STREET, 32, seed=2)
    whole = concatenate(list(samples.chunks(3 * CHUNK + 7)))
    assert samples.chunk_length == 3 * CHUNK
    assert whole.key[3 * CHUNK : 3 * CHUNK + 3] == tuple(f"street-2-{CHUNK:08d}_{view}" for view in range(3))
    assert whole.sequence[4] == "street-2-00000001"
    assert whole.view[:6].tolist() == [0, 1, 2, 0, 1, 2]
    assert_same(samples.samples(50, 50), whole[50:100])
    R, t_m = whole.T_world_cam[:, :3, :3], whole.T_world_cam[:, None, :3, 3]
    world_m = torch.einsum("bij,bkj->bki", R, whole.joints_m) + t_m
    torch.testing.assert_close(world_m[0:90:3], world_m[1:91:3], atol=1e-5, rtol=0)
