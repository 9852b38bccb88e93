"""Rendered people: labels match the image, shapes vary, and all people stand on the ground."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from posebridge.bodies.anny_body import anny_body
from posebridge.skeletons.body import BODIES, COCO17, H36M17
from posebridge.synthesis.body_domains import STREET_BODY, STUDIO_BODY
from posebridge.synthesis.body_poses import BodyPoseDistribution
from posebridge.synthesis.body_subject import BodySubject
from posebridge.synthesis.scene import render_stills
from posebridge.synthesis.scene_domain import OccluderDistribution
from posebridge.synthesis.stream import Samples, VideoSamples
from posebridge.synthesis.viewpoints import ViewpointDistribution

SIZE, COUNT = 64, 12
UNCOVERED = replace(STREET_BODY, occluders=OccluderDistribution(0.0))

# Mean colour of the first samples of seed 0 at 32 px, and the mean of their joints' (u, v). These numbers change only
# with a new version of the benchmark: results of SynthShift before and after can't be compared.
FINGERPRINTS = {
    "studio": (
        [
            (0.71, 0.663, 0.652),
            (0.292, 0.242, 0.225),
            (0.753, 0.735, 0.878),
            (0.384, 0.403, 0.372),
            (0.338, 0.319, 0.315),
            (0.413, 0.386, 0.326),
        ],
        (15.49, 14.33),
    ),
    "street": (
        [
            (0.428, 0.378, 0.326),
            (0.17, 0.159, 0.177),
            (0.287, 0.209, 0.255),
            (0.208, 0.252, 0.218),
            (0.28, 0.301, 0.235),
            (0.196, 0.177, 0.209),
        ],
        (15.28, 14.15),
    ),
}


def _render(domain, seed=0, count=COUNT):
    return render_stills(BodySubject(domain), count, SIZE, torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def plain():
    return _render(UNCOVERED)


@pytest.mark.parametrize("domain", [STUDIO_BODY, STREET_BODY], ids=lambda domain: domain.name)
def test_synthshift_is_frozen(domain):
    colours, middle = FINGERPRINTS[domain.name]
    batch = Samples(domain, 32, seed=0).samples(0, len(colours))
    torch.testing.assert_close(batch.rgb.mean((2, 3)), torch.tensor(colours), atol=0.02, rtol=0)
    torch.testing.assert_close(batch.uv_px.mean((0, 1)), torch.tensor(middle), atol=0.1, rtol=0)


def test_joints_project_into_the_image_and_lie_on_the_body(plain):
    xyz, K = plain.joints_m.double(), plain.camera.K.double()
    projected = torch.einsum("bij,bkj->bki", K, xyz)
    torch.testing.assert_close(plain.uv_px.double(), projected[..., :2] / projected[..., 2:], atol=1e-3, rtol=0)
    for b in range(COUNT):
        away = cv2.distanceTransform((~plain.mask[b]).numpy().astype(np.uint8), cv2.DIST_L2, 5)
        column, row = plain.uv_px[b].round().long().numpy().T
        inside = (column >= 0) & (column < SIZE) & (row >= 0) & (row < SIZE)
        assert inside.mean() > 0.8
        assert away[row.clip(0, SIZE - 1), column.clip(0, SIZE - 1)][inside].max() < 2.5


def test_every_skeleton_labels_the_same_people(plain):
    """Joints of the same canonical name agree between skeletons, and left is left."""
    for name, skeleton in BODIES.items():
        other = _render(replace(UNCOVERED, joints=name))
        assert other.uv_px.shape == (COUNT, len(skeleton), 2)
        for place in ("left_wrist", "right_knee"):
            ours, theirs = H36M17.canonical_names.index(place), skeleton.canonical_names.index(place)
            torch.testing.assert_close(other.joints_m[:, theirs], plain.joints_m[:, ours], atol=0.03, rtol=0)


def test_a_person_who_faces_the_camera():
    """Left joints are on the right of the image, the head is above the feet, and the nose is visible."""
    straight = ViewpointDistribution(
        1.0, turn_deg=0.0, tilt_deg=0.0, roll_deg=0.0, uniform_rotation_share=0.0, offset_frac=0.0
    )
    straight = replace(straight, distance_m=(3.0, 5.0))
    standing = BodyPoseDistribution({"stand": 1.0}, random_share=0.0, blend=0.0, noise_deg=0.0)
    domain = replace(STUDIO_BODY, viewpoints=straight, poses=standing, joints="coco17")
    batch = _render(domain)
    u, v = batch.uv_px.unbind(-1)
    nose, left, right, ankle = (COCO17.index(j) for j in ("nose", "left_shoulder", "right_shoulder", "left_ankle"))
    assert (u[:, left] > u[:, right] + 2).all()
    assert (v[:, ankle] > v[:, nose] + 25).all()
    assert batch.visible[:, nose].all()
    assert batch.visible.float().mean() > 0.9
    behind = _render(replace(domain, viewpoints=replace(straight, front_share=0.0)))
    assert not behind.visible[:, nose].any()
    assert (behind.uv_px[:, left, 0] < behind.uv_px[:, right, 0] - 2).all()


def test_visible_joints_are_just_below_the_visible_skin(plain):
    column, row = plain.uv_px.round().long().clamp(0, SIZE - 1).unbind(-1)
    surface = plain.depth_label_m[torch.arange(COUNT)[:, None], row, column]
    under = plain.joints_m[..., 2] - surface
    on_body = surface > 0
    depth = BodySubject(UNCOVERED).joint_depth_m
    assert (under[plain.visible & on_body] <= depth.expand(COUNT, -1)[plain.visible & on_body]).all()
    assert 0.6 < plain.visible.float().mean() < 0.98
    assert ((depth >= 0.03) & (depth < 0.25)).all()


def test_all_people_stand_on_the_same_ground():
    subject = BodySubject(STREET_BODY)
    pose_shape = subject.sample_pose_shape(24, torch.Generator().manual_seed(1))
    vertices_m, joints_m = subject.pose_mesh(pose_shape)
    torch.testing.assert_close(vertices_m[..., 1].amin(1), torch.full((24,), -0.9), atol=1e-5, rtol=0)
    knee, ankle = (H36M17.index(f"left_{name}") for name in ("knee", "ankle"))
    shank_m = (joints_m[:, knee] - joints_m[:, ankle]).norm(dim=-1)
    assert 0.2 < shank_m.min() < shank_m.max() < 0.6  # children and elders
    assert shank_m.std() > 0.02


def test_people_move_on_the_spot():
    video = VideoSamples(replace(STREET_BODY, occluders=OccluderDistribution(0.0)), 32, seed=1, frames=40).samples(
        0, 40
    )
    assert set(video.sequence) == {"street-1-000000"}
    assert (video.phenotypes == video.phenotypes[0]).all()
    assert (video.camera.K[0] == video.camera.K).all()
    step_m = video.joints_m.diff(dim=0).norm(dim=-1)
    assert 0.002 < step_m.mean() < 0.1  # metres per frame
    assert step_m.max() < 0.5


def test_meshes_contain_the_whole_body():
    subject = BodySubject(STUDIO_BODY)
    assert subject.surface.shape[0] == len(anny_body().rig.vertices_m)
    assert subject.faces.max() < len(subject.surface)
