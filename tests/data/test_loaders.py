from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.on_disk import truncate, write_image
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.crops import CropConfig, UnlabelledCrops
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.loaders import EndlessSampler, Held, endless_loader, ordered_loader
from posebridge.errors import InputError


def draw(n: int, *args, **kwargs) -> list[int]:
    return list(islice(EndlessSampler(*args, **kwargs), n))


@settings(deadline=None, max_examples=30)
@given(length=st.integers(1, 40), seed=st.integers(0, 2**31), start=st.integers(0, 200))
def test_sample_n_is_a_function_of_seed_and_n(length, seed, start):
    assert draw(100, length, seed, start) == draw(start + 100, length, seed)[start:]


def test_every_epoch_is_another_permutation():
    drawn = np.array(draw(5 * 50, 50, seed=3)).reshape(5, 50)
    assert (np.sort(drawn, axis=1) == np.arange(50)).all()
    assert len({tuple(row) for row in drawn.tolist()}) == 5
    assert draw(50, 50, seed=4) != drawn[0].tolist()


def test_ranks_share_the_order_between_them():
    together = draw(60, 7, 1, start=10)
    for rank in range(3):
        assert draw(20, 7, 1, start=10, rank=rank, ranks=3) == together[rank::3]


def test_uniform_over_places():
    firsts = Counter(draw(1, 4, seed)[0] for seed in range(400))
    assert all(60 < firsts[i] < 140 for i in range(4))


def test_nothing_to_sample():
    with pytest.raises(ValueError):
        EndlessSampler(0, 0)


@pytest.fixture
def crops(tmp_path):
    for i in range(6):
        write_image(tmp_path / f"{i}.png", 24, 24, seed=i)
    return UnlabelledCrops(ImageFolder(tmp_path), CropConfig(16))


def test_order_does_not_depend_on_workers_and_resumes(crops):
    def keys(workers: int, start: int, batches: int):
        loader = endless_loader(crops, 4, EndlessSampler(len(crops), 5, start), workers)
        return [batch.key for batch in islice(loader, batches)]

    alone = keys(0, 0, 5)
    assert alone == keys(2, 0, 5)
    assert alone[3:] == keys(2, 12, 2)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_frame_is_one_line(crops, workers):
    truncate(crops.frames.files[5])
    with pytest.raises(InputError) as caught:
        list(ordered_loader(crops, 4, workers))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(crops.frames.files[5]))


def test_ordered_loader(crops):
    batches = list(ordered_loader(crops, 4))
    assert [batch.key for batch in batches] == [("0", "1", "2", "3"), ("4", "5")]
    assert batches[0].image.shape == (4, 3, 16, 16)


def test_held_gives_back_what_was_read(crops):
    held = Held(crops[i] for i in range(6))
    for i in range(6):
        torch.testing.assert_close(held[i].image, crops[i].image, atol=0, rtol=0)
        torch.testing.assert_close(held[i].T_crop_file, crops[i].T_crop_file)
        assert held[i].key == crops[i].key
    assert held.part(slice(1, 4)).key == ("1", "2", "3")
    by_loader = next(iter(endless_loader(held, 4, EndlessSampler(6, 0))))
    from_disk = next(iter(endless_loader(crops, 4, EndlessSampler(6, 0))))
    torch.testing.assert_close(by_loader.image, from_disk.image)
    with pytest.raises(IndexError):
        held[6]
    assert len(list(held)) == 6


def test_held_labelled_and_depth_only():
    samples = [
        LabelledBatch(None, (str(i),), depth_m=torch.full((1, 4, 4), float(i)), uv_px=torch.full((1, 2, 2), float(i)))
        for i in range(1200)
    ]
    held = Held(samples)
    assert len(held) == 1200
    assert held[1100].image is None
    assert held[1100].key == ("1100",)
    assert held[1100].depth_m.unique().item() == held[1100].uv_px.unique().item() == 1100


def test_holding_nothing():
    with pytest.raises(InputError, match="no sample to hold"):
        Held([])
