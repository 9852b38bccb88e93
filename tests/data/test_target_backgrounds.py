"""Pictures of the target behind rendered subjects."""

import torch

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.target_backgrounds import background_bank, with_backgrounds
from posebridge.skeletons.skeleton import Skeleton

SIDE, BLUE, RED = 40, torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0])
SKELETON = Skeleton("stick", ("a", "b"), {"b": "a"}, reference_bone=("a", "b"))


def _frames(count: int) -> InMemoryDataset[UnlabelledBatch]:
    """Blue pictures with a red stick in the left third."""
    image = BLUE[:, None, None].repeat(1, SIDE, SIDE)
    image[:, 4:36, 6:9] = RED[:, None, None]
    images = image.expand(count, -1, -1, -1)
    return InMemoryDataset([UnlabelledBatch(image=images, key=tuple(map(str, range(count))))])


def _sticks(count: int) -> torch.Tensor:
    return torch.tensor([[7.0, 4.0], [7.0, 35.0]]).expand(count, -1, -1)


def test_squares_leave_the_subject_out():
    bank = background_bank(_frames(5), _sticks(5), SKELETON, count=60, seed=0)
    assert len(bank) > 50
    assert bank.shape[1:] == (3, SIDE, SIDE)
    assert (bank == torch.tensor([0, 0, 255], dtype=torch.uint8)[:, None, None]).all()


def test_wrong_predictions_would_let_it_in():
    """The check above fails where the predicted joints lie elsewhere."""
    bank = background_bank(_frames(5), _sticks(5) + torch.tensor([25.0, 0.0]), SKELETON, count=60, seed=0)
    assert (bank[:, 0] > 0).any()


def test_a_subject_that_fills_the_frame_leaves_no_square():
    places = torch.arange(4.0)
    everywhere = torch.stack(torch.meshgrid(places, places, indexing="xy"), -1).reshape(1, 16, 2) * 12 + 2
    names = tuple("abcdefghijklmnop")
    grid = Skeleton("grid", names, dict.fromkeys(names[1:], "a"), reference_bone=("a", "b"))
    bank = background_bank(_frames(1), everywhere, grid, count=20, seed=0)
    assert bank.shape == (0, 3, SIDE, SIDE)


def _renders(count: int) -> InMemoryDataset[LabelledBatch]:
    mask = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    mask[:, 10:30, 10:30] = True
    image = torch.full((count, 3, SIDE, SIDE), 0.2)
    return InMemoryDataset([LabelledBatch(image=image, key=tuple(map(str, range(count))), mask=mask)])


def test_only_the_background_is_exchanged():
    renders, bank = _renders(400), torch.full((1, 3, SIDE, SIDE), 204, dtype=torch.uint8)
    images = with_backgrounds(renders, bank, 0.5, seed=3).all().rgb
    torch.testing.assert_close(images[:, :, 11:29, 11:29], torch.full((400, 3, 18, 18), 51 / 255))
    corner = images[:, 0, 0, 0]
    exchanged = corner > 0.5
    torch.testing.assert_close(corner[exchanged], torch.full((int(exchanged.sum()),), 0.8))
    assert 160 < exchanged.sum() < 240
    assert (images[~exchanged] == images[~exchanged][0, 0, 0, 0]).all()


def test_draws_follow_the_seed():
    renders = _renders(20)
    bank = torch.randint(255, (6, 3, SIDE, SIDE), dtype=torch.uint8)
    first, again, other = (with_backgrounds(renders, bank, 1.0, seed).all().rgb for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
