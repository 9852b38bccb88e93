from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.hand_sets import hand_mm, ordered
from data.people import person
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.crops import CropConfig, LabelledCrops, UnlabelledCrops
from posebridge.data.dataset_stream import DatasetPairStream, DatasetStream, dataset_pairs, ordered_batches, read_crop
from posebridge.data.datasets.hand_frames import HandFrames, HandRecord
from posebridge.data.datasets.person_sequences import PersonSequence, PersonSequences
from posebridge.data.frames import FrameLabels, IndexedFrames, RawFrame, UnreadableFrameError
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.pairs import FramePairs, PairConfig, PairStream, pairs_of, split_pairs
from posebridge.data.skipped_list import SkippedList
from posebridge.data.streams import ShuffledStream, StepBatches, step_loader
from posebridge.data.subset import NamedJoints
from posebridge.errors import InputError
from posebridge.skeletons.body import MPII16, SMPL24
from posebridge.skeletons.hand import HAND21

SIDE = 4
CROP = CropConfig(SIDE)


class Numbers:
    """Frame i is grey of value i; broken ones can't be read. Even frames have a mask."""

    def __init__(self, count: int, broken=(), video: int = 10):
        self.count = count
        self.broken = frozenset(broken)
        self.video = video

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> RawFrame:
        if index in self.broken:
            raise UnreadableFrameError(f"{index}.jpg", "torn")
        image = np.full((SIDE, SIDE, 3), index, np.uint8)
        return RawFrame(image, str(index), f"video {index // self.video}", index % self.video)

    def labels(self, index: int) -> FrameLabels:
        seen = np.ones(1, bool)
        mask = np.ones((SIDE, SIDE), bool) if index % 2 == 0 else None
        return FrameLabels(np.full((1, 2), index % SIDE), seen, seen, mask=mask)


class Unlabelled(Numbers):
    def labels(self, index: int) -> FrameLabels:
        raise AssertionError("a label was requested")


def dataset(frames) -> InMemoryDataset[UnlabelledBatch]:
    return InMemoryDataset(UnlabelledCrops(frames, CROP)[i] for i in range(len(frames)))


def numbers(batch) -> list[int]:
    """Frame numbers of a batch, by its keys and by its pixels, which must agree."""
    assert (255 * batch.rgb[:, 0, 0, 0]).round().int().tolist() == [int(key) for key in batch.key]
    return [int(key) for key in batch.key]


@pytest.fixture
def skipped(tmp_path) -> SkippedList:
    return SkippedList(tmp_path / "run" / "unreadable.jsonl")


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 20), st.integers(0, 2**31), st.lists(st.integers(0, 40), max_size=6))
def test_order_matches_an_in_memory_set(tmp_path_factory, count, size, seed, requests):
    frames = Unlabelled(count)
    skipped = SkippedList(tmp_path_factory.getbasetemp() / "none")
    stream = DatasetStream(UnlabelledCrops(frames, CROP), size, seed, skipped)
    from_memory = ShuffledStream(dataset(frames), size, seed)
    for number in requests:  # in any order of requests
        batch, expected = stream.batch(number), from_memory.batch(number)
        assert type(batch) is UnlabelledBatch
        assert batch.key == expected.key
        torch.testing.assert_close(batch.rgb, expected.rgb)


def test_only_joints_are_loaded_by_default(skipped):
    batch = DatasetStream(LabelledCrops(Numbers(9), CROP), 9, 0, skipped).batch(0)
    assert type(batch) is LabelledBatch
    assert batch.uv_px[:, 0, 0].tolist() == [n % SIDE for n in numbers(batch)]
    assert batch.mask is None


def test_frames_without_a_label_are_replaced_by_the_next(skipped):
    """Even frames have a mask; odd ones are listed."""
    crops, labels = LabelledCrops(Numbers(10), CROP), frozenset({"joints", "mask"})
    batch = DatasetStream(crops, 10, 0, skipped, labels).batch(0)
    assert all(n % 2 == 0 for n in numbers(batch))
    assert batch.mask.all()
    assert set(skipped.read()) == {"1", "3", "5", "7", "9"}
    assert skipped.read()["3"] == "no label mask, which all renders, FreiHAND and SURREAL have"
    only = read_crop(crops, 0, skipped, frozenset({"mask"}))
    assert only.uv_px is None
    assert only.mask.all()


def test_a_source_without_a_label_is_refused_by_name(skipped):
    stream = DatasetStream(LabelledCrops(Numbers(5), CROP), 2, 0, skipped, frozenset({"joints", "depth"}))
    with pytest.raises(InputError, match=r"5 frames in a row .*: no label depth, which renders of hand-rgb .* have"):
        stream.batch(0)


def test_broken_frames_are_replaced_by_the_next(skipped):
    whole = [
        n for i in range(4) for n in numbers(DatasetStream(UnlabelledCrops(Numbers(10), CROP), 5, 3, skipped).batch(i))
    ]
    assert skipped.read() == {}
    broken = {whole[2], whole[3], whole[9]}  # two in a row, and the last of its permutation
    stream = DatasetStream(UnlabelledCrops(Numbers(10, broken), CROP), 5, 3, skipped)
    drawn = [n for i in range(4) for n in numbers(stream.batch(i))]
    assert drawn[:10] == [*whole[:2], whole[4], whole[4], *whole[4:9], whole[0]]
    assert not set(drawn) & broken
    assert skipped.read() == {f"{n}.jpg": "torn" for n in broken}


@pytest.mark.parametrize("count", [3, 150])
def test_unreadable_sets_are_refused(count, skipped):
    stream = DatasetStream(UnlabelledCrops(Numbers(count, range(count)), CROP), 2, 0, skipped)
    with pytest.raises(InputError, match=rf"^{min(count, 100)} frames in a row can't be read, .*\d+\.jpg: torn$"):
        stream.batch(0)
    with pytest.raises(InputError, match=rf"^{count} frames in a row can't be read"):
        list(ordered_batches(UnlabelledCrops(Numbers(count, range(count)), CROP), 2, skipped))


def step_keys(skipped: SkippedList, workers: int, first: int = 0) -> list[tuple]:
    frames = Numbers(40, broken=(3, 4, 17))
    pairs = dataset_like_pairs(frames)
    crops = UnlabelledCrops(frames, CROP)
    streams = {
        "source": DatasetStream(LabelledCrops(frames, CROP), 4, 1, skipped),
        "target": DatasetStream(crops, 3, 2, skipped),
        "pairs": DatasetPairStream(crops, pairs, 2, 2, skipped),
    }
    steps = islice(step_loader(StepBatches(streams, first), workers), 15)
    return [(number, *(tuple(numbers(batch)) for batch in batches.values())) for number, batches in steps]


def dataset_like_pairs(frames: Numbers, config: PairConfig | None = None) -> FramePairs:
    named = [divmod(i, frames.video) for i in range(len(frames))]
    number = torch.tensor([n for _, n in named])
    return FramePairs([str(v) for v, _ in named], number, torch.zeros_like(number), config or PairConfig())


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_and_skipped_list_do_not_depend_on_workers(workers, tmp_path):
    alone, shared = SkippedList(tmp_path / "alone"), SkippedList(tmp_path / "shared")
    assert step_keys(shared, workers) == step_keys(alone, 0)
    assert shared.read() == alone.read() == dict.fromkeys(("3.jpg", "4.jpg", "17.jpg"), "torn")
    assert step_keys(shared, workers, first=6)[:9] == step_keys(alone, 0)[6:]  # and a run resumes at any step


def test_pairs_match_an_in_memory_set(skipped):
    frames = Unlabelled(40)
    stream = DatasetPairStream(UnlabelledCrops(frames, CROP), dataset_like_pairs(frames), 6, 7, skipped)
    from_memory = PairStream(dataset(frames), 6, 7)
    for number in (3, 0, 11):
        assert numbers(stream.batch(number)) == numbers(from_memory.batch(number))
    assert type(stream.batch(0)) is UnlabelledBatch


def test_broken_pairs_are_replaced_by_the_next(skipped):
    pairs = dataset_like_pairs(Numbers(40))
    base, driving = (torch.cat(side).tolist() for side in zip(*(pairs.draw(i, 4, 5) for i in range(8)), strict=True))
    row = list(zip(base, driving, strict=True))
    broken = {driving[1], base[3]}
    expected = [next(p for p in row[i:] if not set(p) & broken) for i in range(8)]
    assert expected != row[:8]
    stream = DatasetPairStream(UnlabelledCrops(Numbers(40, broken), CROP), pairs, 4, 5, skipped)
    drawn = [pair for i in range(2) for pair in zip(*map(numbers, split_pairs(stream.batch(i))), strict=True)]
    assert drawn == expected
    assert all(5 <= abs(b - d) <= 15 and b // 10 == d // 10 for b, d in drawn)
    nothing = DatasetPairStream(UnlabelledCrops(Numbers(40, range(40)), CROP), pairs, 4, 5, skipped)
    with pytest.raises(InputError, match="pairs in a row can't be read"):
        nothing.batch(0)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_readable_frame_once_in_order(workers, skipped):
    crops = LabelledCrops(Numbers(23, broken=(1, 8, 9, 10, 11, 22)), CROP)
    read = list(ordered_batches(crops, 4, skipped, workers))
    expected = [i for i in range(23) if i not in (1, 8, 9, 10, 11, 22)]
    assert [i for places, _ in read for i in places] == expected
    assert [n for _, batch in read for n in numbers(batch)] == expected
    assert [len(places) for places, _ in read] == [3, 4, 4, 4, 2]  # of 8 to 11, none
    assert len(skipped.read()) == 6


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_workers_are_one_line(workers, skipped):
    crops = UnlabelledCrops(Numbers(4), CropConfig(SIDE, hand="annotated"))
    with pytest.raises(InputError) as raised:
        list(ordered_batches(crops, 2, skipped, workers))
    assert str(raised.value) == "0: the frame isn't labelled left or right; choose left or right for all frames"


def people() -> PersonSequences:
    """Two cameras of one person, and another sequence of every third frame; some frames are missing."""
    K = np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]])
    sequences = [
        PersonSequence(
            name, name, dict.fromkeys(frames), np.array(frames), person(SMPL24.canonical_names, len(frames)), K, view=v
        )
        for name, v, frames in (
            ("a", 0, [*range(8), 11, 30]),
            ("a", 1, [*range(0, 20, 2)]),
            ("b", 0, [*range(0, 30, 3)]),
        )
    ]
    return PersonSequences(sequences, SMPL24.canonical_names, SMPL24, {})


class Hands(HandFrames):
    """Frames of two folders in turn; one record is broken."""

    def __len__(self) -> int:
        return 24

    def record(self, index: int) -> HandRecord:
        if index == 6:
            raise UnreadableFrameError("6.jpg", "its hand is not in front of the camera")
        uv = ordered(hand_mm(index), HAND21.joints)[:, :2]
        return HandRecord(
            None, str(index), None, uv, np.ones(21, bool), None, sequence=str(index % 2), frame=index // 2
        )


@pytest.mark.parametrize("frames", [people(), Hands()], ids=["people", "hands"])
def test_pairs_are_found_without_opening_an_image(frames):
    config = PairConfig((2, 6))
    found = dataset_pairs(frames, config)
    if isinstance(frames, PersonSequences):
        places = [(s.name, s.view, int(n)) for s in frames.sequences for n in s.numbers]
    else:
        places = [(str(i % 2), 0, i // 2) for i in range(24)]
        places[6] = ("broken", 0, 0)
    fits = {
        i: [j for j, b in enumerate(places) if a[:2] == b[:2] and 2 <= abs(a[2] - b[2]) <= 6]
        for i, a in enumerate(places)
    }
    assert found.driving.tolist() == [i for i, bases in fits.items() if bases]
    base, driving = found.draw(0, 400, 0)
    assert all(b in fits[d] for b, d in zip(base.tolist(), driving.tolist(), strict=True))
    drawn = Counter(zip(base.tolist(), driving.tolist(), strict=True))
    assert len(drawn) > 40


def test_pairs_do_not_depend_on_joint_names():
    frames = people()
    named = NamedJoints(frames, SMPL24, MPII16, {"head_top": "head", "upper_neck": "neck", "thorax": "spine3"})
    ours, theirs = (dataset_pairs(reader, PairConfig()).draw(2, 9, 1) for reader in (named, frames))
    assert [side.tolist() for side in ours] == [side.tolist() for side in theirs]


class Photos(IndexedFrames):
    """Frames without a sequence."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> RawFrame:
        return RawFrame(np.zeros((2, 2, 3), np.uint8), str(index))


def test_sets_without_pairs():
    with pytest.raises(InputError, match="no two frames of one sequence are 90 to 99 frames apart"):
        dataset_pairs(people(), PairConfig((90, 99)))
    with pytest.raises(InputError, match="Photos: its frames are single images"):
        dataset_pairs(Photos(), PairConfig())


def test_pairs_match_those_of_loaded_frames():
    frames = Numbers(40)
    by_reading = pairs_of(dataset(frames).without_images(), PairConfig())
    assert by_reading.draw(1, 20, 0)[0].tolist() == dataset_like_pairs(frames).draw(1, 20, 0)[0].tolist()
