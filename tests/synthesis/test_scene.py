"""Rendered hands: labels match the image."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from posebridge.contracts.batch import LabelledBatch
from posebridge.skeletons.hand import FINGERS, HAND21
from posebridge.synthesis.backgrounds import BackgroundDistribution
from posebridge.synthesis.hand_domains import STREET, STUDIO, HandDomain
from posebridge.synthesis.hand_poses import PoseDistribution
from posebridge.synthesis.hand_subject import HandSubject
from posebridge.synthesis.lights import LightDistribution
from posebridge.synthesis.scene import place_subjects, render_stills
from posebridge.synthesis.scene_domain import OccluderDistribution
from posebridge.synthesis.viewpoints import ViewpointDistribution

SIZE, COUNT = 64, 24
UNCOVERED = replace(STREET, occluders=OccluderDistribution(0.0))
COVERED = replace(STREET, occluders=OccluderDistribution(1.0, (0.2, 0.3)))


def _render(domain: HandDomain, seed: int = 0, count: int = COUNT, size_px: int = SIZE) -> LabelledBatch:
    return render_stills(HandSubject(domain), count, size_px, torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def plain():
    return _render(UNCOVERED)


@pytest.fixture(scope="module")
def covered():
    return _render(COVERED)


def _place():
    """Subjects of ``UNCOVERED`` before the camera."""
    subject, generator = HandSubject(UNCOVERED), torch.Generator().manual_seed(0)
    return place_subjects(subject, subject.sample_pose_shape(COUNT, generator), SIZE, generator)


def _at_joints(images: torch.Tensor, uv_px: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Values at the pixels of the joints (B, J), and which joints are inside the image."""
    column, row = (uv_px.round().long().clamp(0, SIZE - 1)).unbind(-1)
    inside = ((uv_px > -0.5) & (uv_px < SIZE - 0.5)).all(-1)
    return images[torch.arange(len(images))[:, None], row, column].numpy(), inside.numpy()


@pytest.mark.parametrize("domain", [STUDIO, STREET], ids=lambda domain: domain.name)
def test_images_and_shapes(domain):
    batch = _render(domain, count=5)
    assert batch.rgb.shape == (5, 3, SIZE, SIZE)
    assert torch.isfinite(batch.rgb).all()
    assert batch.rgb.min() >= 0
    assert batch.rgb.max() <= 1
    assert batch.rgb.flatten(1).std(1).min() > 0.02
    assert batch.uv_px.shape == (5, 21, 2)
    assert batch.joints_m.shape == (5, 21, 3)
    assert batch.valid.all()
    assert not (batch.visible & ~batch.valid).any()


def test_joints_in_space_project_onto_joints_in_the_image(plain):
    xyz, K = plain.joints_m.double().numpy(), plain.camera.K.double().numpy()
    for b in range(COUNT):
        for j in range(21):
            u, v, w = K[b] @ xyz[b, j]
            np.testing.assert_allclose(plain.uv_px[b, j].numpy(), (u / w, v / w), atol=1e-3)


def test_finger_tips_and_all_joints_lie_on_the_hand(plain):
    tips = [HAND21.index(f"{finger}_4") for finger in FINGERS]
    for b in range(COUNT):
        away = cv2.distanceTransform((~plain.mask[b]).numpy().astype(np.uint8), cv2.DIST_L2, 5)
        column, row = plain.uv_px[b].round().long().numpy().T
        inside = (column >= 0) & (column < SIZE) & (row >= 0) & (row < SIZE)
        assert inside.mean() > 0.8
        distance = np.where(inside, away[row.clip(0, SIZE - 1), column.clip(0, SIZE - 1)], 0)
        assert distance[tips].max() < 2.5
        assert distance.max() < 2.5


def test_depth_and_mask_are_one_surface(plain):
    assert torch.equal(plain.mask, plain.depth_label_m > 0)
    assert 0.05 < plain.mask.float().mean() < 0.6
    seen = plain.depth_label_m[plain.mask]
    low, high = STREET.viewpoints.distance_m
    assert low - 0.25 < seen.min() < seen.max() < high + 0.25
    vertices_m = _place().vertices_m
    for b in range(COUNT):
        seen = plain.depth_label_m[b][plain.mask[b]]
        assert vertices_m[b, :, 2].min() - 1e-4 < seen.min()
        assert seen.max() < vertices_m[b, :, 2].max() + 1e-4


def test_visible_joints_are_just_below_the_visible_surface(plain):
    surface, inside = _at_joints(plain.depth_label_m, plain.uv_px)
    under = plain.joints_m[..., 2].numpy() - surface
    visible = plain.visible.numpy()
    assert (visible <= inside).all()
    on_hand = inside & (surface > 0)
    assert under[visible & on_hand].max() < 0.022  # a joint is at most a palm's thickness deep
    assert np.quantile(under[visible & on_hand], 0.02) > -0.004  # and not before the surface,
    assert 0.002 < np.median(under[visible & on_hand]) < 0.015  # but inside the flesh
    assert (under[~visible & on_hand] >= 0.022).all()
    assert 0.03 < (~visible).mean() < 0.6


def test_occluders_hide_what_they_cover(plain, covered):
    silhouette = covered.depth_label_m > 0
    assert not (covered.mask & ~silhouette).any()
    lost = (silhouette & ~covered.mask).flatten(1).sum(1) / silhouette.flatten(1).sum(1)
    assert (lost > 0.02).float().mean() > 0.8
    assert lost.max() < 0.9
    mask, inside = _at_joints(covered.mask, covered.uv_px)
    surface, _ = _at_joints(covered.depth_label_m, covered.uv_px)
    under_cover = inside & (surface > 0) & ~mask
    assert under_cover.sum() > COUNT / 2
    assert not covered.visible.numpy()[under_cover].any()
    assert covered.visible.float().mean() < plain.visible.float().mean()
    torch.testing.assert_close(covered.uv_px, plain.uv_px)  # labels do not change
    assert torch.equal(covered.depth_label_m, plain.depth_label_m)


def test_the_hand_is_rendered_before_its_background():
    """Two renders with different backgrounds are equal within the hand and different around it."""
    paint = BackgroundDistribution(clutter_share=1.0)
    clean = replace(STUDIO.sensor, noise_probability=0.0)
    one, other = (_render(replace(STUDIO, backgrounds=b, sensor=clean), count=4) for b in (STUDIO.backgrounds, paint))
    assert torch.equal(one.mask, other.mask)
    same = (one.rgb - other.rgb).abs().amax(1) < 1e-6
    for b in range(4):
        inner = cv2.erode(one.mask[b].numpy().astype(np.uint8), np.ones((3, 3))) > 0
        assert same[b].numpy()[inner].all()
        assert same[b].numpy()[~one.mask[b].numpy()].mean() < 0.2


def test_straight_palms():
    straight = ViewpointDistribution(
        1.0, turn_deg=0.0, tilt_deg=0.0, roll_deg=0.0, uniform_rotation_share=0.0, offset_frac=0.0
    )
    poses = PoseDistribution({"open": 1.0}, random_share=0.0, blend=0.0, noise_deg=0.0, wrist_deg=(0.0, 0.0))
    batch = _render(replace(UNCOVERED, viewpoints=straight, poses=poses), count=8)
    u, v = batch.uv_px.unbind(-1)
    thumb, pinky, middle, wrist = (HAND21.index(name) for name in ("thumb_4", "pinky_4", "middle_4", "wrist"))
    assert (u[:, thumb] > u[:, pinky] + 10).all()
    assert (v[:, middle] < v[:, wrist] - 20).all()
    assert batch.visible.float().mean() > 0.9


def test_hands_fill_the_given_fraction_of_the_frame():
    batch = _render(replace(UNCOVERED, viewpoints=replace(STREET.viewpoints, joint_extent_frac=(0.55, 0.6))))
    extent = (batch.uv_px.amax(1) - batch.uv_px.amin(1)).amax(-1) / SIZE
    assert 0.55 - 1e-4 < extent.min() < extent.max() < 0.6 + 1e-4


def test_shapes_differ_within_a_domain():
    placed = _place()
    palm = (placed.joints_m[:, HAND21.index("middle_1")] - placed.joints_m[:, 0]).norm(dim=-1)
    assert palm.std() > 0.002
    assert 0.05 < palm.min() < palm.max() < 0.15


def test_brightness_follows_the_lights():
    def brightness(ambient: float) -> float:
        lights = LightDistribution(key_light=(0.01, 0.01), ambient=(ambient, ambient))
        batch = _render(replace(STUDIO, lights=lights), count=6)
        return batch.rgb.mean(1)[batch.mask].mean().item()

    assert brightness(0.05) < 0.6 * brightness(0.6)
