import torch

from posebridge.representations.centre_maps import CentreMaps

MAPS = CentreMaps(stride=8)
GRID = (12, 16)  # 96 x 128 pixels
BOXES = torch.tensor([[[20.0, 16.0, 60.0, 72.0], [70.0, 40.0, 118.0, 64.0], [4.0, 4.0, 30.0, 30.0]]])


def targets(kind, ignored=(False, False, False), side=(-1, -1, -1), boxes=BOXES):
    return MAPS.targets(boxes, torch.tensor([kind]), torch.tensor([side]), torch.tensor([ignored]), 2, GRID)


def test_peaks_lie_in_the_middle_cells():
    heat = targets((0, 1, -1)).heat[0]
    # Middles (40, 44) and (94, 52) px; pixel centres are whole numbers, so cell i covers [8 i - 0.5, 8 i + 7.5].
    assert (heat[0] == 1).nonzero().tolist() == [[5, 5]]
    assert (heat[1] == 1).nonzero().tolist() == [[6, 11]]
    assert (heat >= 0).all()


def test_spread_follows_the_sides_of_the_box():
    maps = CentreMaps(stride=1, spread=0.1, least_spread=0.5)
    box = torch.tensor([[[19.5, 39.5, 59.5, 49.5]]])  # 40 x 10 px about pixel (40, 45) after rounding
    heat = maps.targets(box, torch.zeros(1, 1).long(), torch.full((1, 1), -1), torch.zeros(1, 1).bool(), 1, (90, 90))
    middle = (heat.heat[0, 0] == 1).nonzero()[0].tolist()
    y, x = middle
    expected = torch.exp(torch.tensor([-0.5 * (3 / 4.0) ** 2, -0.5 * (2 / 1.0) ** 2]))
    torch.testing.assert_close(heat.heat[0, 0, [y, y + 2], [x + 3, x]], expected)


def test_decoding_returns_the_encoded_boxes():
    found = targets((0, 1, 0), side=(1, -1, 0))
    cells = MAPS.cells(*GRID).permute(2, 0, 1)
    distances = torch.cat([cells - found.box[:, :, :2], found.box[:, :, 2:] - cells], dim=2)
    peaks = MAPS.peaks(found.heat, distances, found.side, count=3)
    assert sorted(peaks.kind[0].tolist()) == [0, 0, 1]
    torch.testing.assert_close(peaks.score, torch.ones(1, 3))
    order = peaks.box_xyxy[0, :, 0].argsort()
    torch.testing.assert_close(peaks.box_xyxy[0, order], BOXES[0, [2, 0, 1]])
    right = peaks.right[0, order]
    assert right[0] == 0
    assert right[1] == 1


def test_box_weights_sum_to_one_and_cover_their_box_alone():
    """Also cells beside the peak of a large box."""
    large = 2.5 * BOXES
    found = CentreMaps(8).targets(
        large, torch.tensor([[0, 0, -1]]), torch.full((1, 3), -1), torch.zeros(1, 3).bool(), 2, (40, 40)
    )
    torch.testing.assert_close(found.box_weight[0].sum(dim=(1, 2)), torch.tensor([2.0, 0.0]))
    first = (found.box[0, 0] == large[0, 0][:, None, None]).all(dim=0) & (found.box_weight[0, 0] > 0)
    torch.testing.assert_close(found.box_weight[0, 0][first].sum(), torch.tensor(1.0))
    assert first.sum() > 1


def test_sides_of_unknown_hands_have_no_weight():
    found = targets((0, 0, -1), side=(1, -1, -1))
    torch.testing.assert_close(found.side_weight.sum(), torch.tensor(1.0))
    assert (found.side[found.side_weight > 0] == 1).all()


def test_ignored_boxes_are_not_penalised_and_make_no_peak():
    found = targets((0, 0, -1), ignored=(False, True, False))
    assert (found.heat[0, 0] == 1).sum() == 1
    cells = MAPS.cells(*GRID)
    inside = ((cells >= BOXES[0, 1, :2]) & (cells <= BOXES[0, 1, 2:])).all(dim=-1)
    torch.testing.assert_close(found.counted[0, 0], ~inside)
    assert found.counted[0, 1].all()  # people may not be detected there


def test_a_middle_outside_the_image_becomes_the_nearest_cell():
    heat = targets((0, -1, -1), boxes=torch.tensor([[[-60.0, 30.0, 20.0, 60.0]] * 3])).heat[0, 0]
    assert (heat == 1).nonzero().tolist() == [[5, 0]]
