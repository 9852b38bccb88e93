from dataclasses import replace

import numpy as np
import pytest

from posebridge.skeletons.body import H36M17
from posebridge.synthesis.cutouts import Cutout, cutouts
from posebridge.synthesis.whole_scenes import PlacementDistribution, SceneComposer, SceneDistribution, paste

RED = (255, 0, 0)
NOTHING = PlacementDistribution(number=(1.0,), size_frac=(0.1, 0.2), roll_deg=0.0)
ONE = PlacementDistribution(number=(0.0, 1.0), size_frac=(0.2, 0.5), roll_deg=180.0)
ALONE = SceneDistribution(hands=ONE, people=NOTHING, clutter_share=0.0, occluded_share=0.0, gain=0.0)


def disc(side=61):
    """A red disc whose 21 joints lie on its rim."""
    y, x = np.mgrid[:side, :side]
    middle = (side - 1) / 2
    inside = (x - middle) ** 2 + (y - middle) ** 2 <= middle**2
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[inside] = (*RED, 255)
    angles = np.linspace(0, 2 * np.pi, 21)[:, None]
    uv = middle + (middle - 1) * np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    return Cutout(rgba, uv.astype(np.float32), "hand")


def red(image):
    return (image[..., 0] > 200) & (image[..., 1] < 60) & (image[..., 2] < 60)


def test_boxes_surround_the_subject_with_its_margin():
    composer = SceneComposer(ALONE, [disc()], [])
    checked = 0
    for seed in range(40):
        scene = composer.compose(120, 160, np.random.default_rng(seed))
        y, x = np.nonzero(red(scene.image))
        if len(x) == 0 or min(x.min(), y.min()) == 0 or x.max() == 159 or y.max() == 119:
            continue  # cut off by the image
        [region] = scene.regions
        extent = np.array([x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5])
        middle, side = (extent[:2] + extent[2:]) / 2, 1.5 * (extent[2:] - extent[:2])
        np.testing.assert_allclose(region.box_xyxy, [*(middle - side / 2), *(middle + side / 2)], atol=2.5)
        assert not region.ignored
        checked += 1
    assert checked > 10


def test_sizes_follow_the_distribution():
    sides = []
    for seed in range(60):
        for region in SceneComposer(ALONE, [disc()], []).compose(120, 160, np.random.default_rng(seed)).regions:
            low, high = region.box_xyxy[:2], region.box_xyxy[2:]
            if (low > 0).all() and (high < [159, 119]).all():
                sides.append((high - low).max())
    assert min(sides) >= 0.2 * 160 - 2
    assert max(sides) <= 0.5 * 160 + 2
    assert max(sides) > 1.5 * min(sides)


def test_hidden_subjects_are_ignored():
    """A person pasted first and covered by a hand has no visible joint."""
    person = replace(disc(), kind="person", uv_px=np.full((17, 2), 30, np.float32) + np.eye(17, 2, dtype=np.float32))
    composer = SceneComposer(replace(ALONE, people=ONE), [disc()], [person])
    regions = [r for s in range(60) for r in composer.compose(120, 160, np.random.default_rng(s)).regions]
    people = [r for r in regions if r.kind == "person"]
    assert any(r.ignored for r in people)
    assert any(not r.ignored for r in people)


def test_hands_of_people_are_ignored_regions_of_hands():
    uv = np.linspace([10, 5], [50, 55], 17).astype(np.float32)
    for name, place in (("left_elbow", (10, 20)), ("left_wrist", (10, 40))):
        uv[H36M17.joints.index(name)] = place
    person = replace(disc(), kind="person", uv_px=uv)
    level = replace(ONE, roll_deg=0.0)
    scene = SceneComposer(replace(ALONE, hands=NOTHING, people=level), [], [person]).compose(
        200, 200, np.random.default_rng(3)
    )
    hands = [r for r in scene.regions if r.kind == "hand"]
    assert len(hands) == 2
    assert all(r.ignored for r in hands)


def test_scenes_without_subjects():
    scene = SceneComposer(replace(ALONE, hands=NOTHING), [disc()], []).compose(64, 96, np.random.default_rng(0))
    assert scene.image.shape == (64, 96, 3)
    assert scene.regions == ()


def test_scenes_depend_on_the_seed_alone():
    composer = SceneComposer(SceneDistribution(), [disc()], [])
    first, again, other = (composer.compose(64, 96, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    assert (first.image != other.image).any()


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
def test_pasted_colours_are_means_not_sums(scale):
    canvas, owner = np.full((200, 200, 3), 100, np.uint8), np.zeros((200, 200), np.int16)
    T = np.diag([scale, scale, 1.0])
    T[:2, 2] = 100 - scale * 30
    paste(canvas, owner, disc().rgba, T, 7)
    area = np.pi * (30.5 * scale) ** 2
    assert (owner == 7).sum() == pytest.approx(area, rel=0.1)
    assert red(canvas).sum() == pytest.approx(area, rel=0.15)
    assert canvas[..., 1].max() == 100  # over grey, the rim is nowhere brighter than both
    assert (canvas[:5] == 100).all()


def test_cutouts_are_rendered_subjects():
    hand = next(cutouts("hand", 1, seed=3))
    assert hand.uv_px.shape == (21, 2)
    alpha = hand.rgba[..., 3]
    assert alpha[[0, -1]].any()
    assert alpha[:, [0, -1]].any()
    assert (hand.rgba[..., :3].max(axis=-1) <= alpha.astype(int) + 1).all()  # colours are multiplied by alpha
    pixel = hand.uv_px.round().astype(int).clip(0, [alpha.shape[1] - 1, alpha.shape[0] - 1])
    assert (alpha[pixel[:, 1], pixel[:, 0]] > 0).mean() > 0.9
