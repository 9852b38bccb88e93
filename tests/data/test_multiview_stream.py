"""Sets of views are drawn together and equally often, and are identified by sequence and frame."""

import pytest
import torch

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.multiview_stream import MultiViewStream, moments_of
from posebridge.errors import InputError


def frames(sets: int = 7, views: int = 3, shuffled: bool = True) -> UnlabelledBatch:
    """Depth images whose values are the number of their moment, in random order."""
    moment = torch.arange(sets).repeat_interleave(views)
    batch = UnlabelledBatch(
        image=None,
        key=tuple(str(i) for i in range(sets * views)),
        sequence=tuple(f"hand-{int(m) % 2}" for m in moment),
        frame=moment,
        view=torch.arange(views).repeat(sets),
        depth_m=moment[:, None, None].float().expand(-1, 2, 2),
    )
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    return batch.take(order) if shuffled else batch


def test_batches_contain_whole_sets_ordered_by_view():
    stream = MultiViewStream(InMemoryDataset([frames()]), 4, seed=3, views=3)
    batch = stream.batch(5)
    moments = batch.depth_m[:, 0, 0].view(4, 3)
    assert (moments == moments[:, :1]).all()
    assert batch.view.tolist() == [0, 1, 2] * 4


def test_sets_are_drawn_without_replacement():
    stream = MultiViewStream(InMemoryDataset([frames()]), 1, seed=3, views=3)
    drawn = [int(stream.batch(n).frame[0]) for n in range(21)]
    assert sorted(drawn[:7]) == sorted(drawn[7:14]) == sorted(drawn[14:]) == list(range(7))
    assert drawn[:7] != drawn[7:14]
    again = MultiViewStream(InMemoryDataset([frames()]), 1, seed=3, views=3)
    assert int(again.batch(12).frame[0]) == drawn[12]


def test_some_views_of_larger_sets():
    stream = MultiViewStream(InMemoryDataset([frames()]), 7, seed=3, views=2)
    pairs = {tuple(own) for n in range(6) for own in stream.batch(n).view.view(7, 2).tolist()}
    assert pairs == {(0, 1), (0, 2), (1, 2)}


def test_samples_without_a_frame_number_are_single_views():
    single = UnlabelledBatch(image=None, key=("a", "b"), depth_m=torch.zeros(2, 2, 2))
    assert [own.tolist() for own in moments_of(single)] == [[0], [1]]
    with pytest.raises(InputError, match="seen by 3 cameras"):
        MultiViewStream(InMemoryDataset([single]), 1, seed=0, views=3)


def test_two_images_of_one_view_are_refused():
    batch = frames()
    with pytest.raises(InputError, match="one view has several"):
        moments_of(UnlabelledBatch(None, batch.key, sequence=batch.sequence, frame=batch.frame))
