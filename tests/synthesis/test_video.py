"""Videos: one subject, camera and light; smooth motion within joint limits; random access to frames."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from posebridge.bodies.hand_articulation import HandAngles, clamp_to_limits
from posebridge.errors import InputError
from posebridge.rendering.photometry import OFF
from posebridge.synthesis.hand_domains import STREET, STUDIO
from posebridge.synthesis.hand_subject import HandSubject
from posebridge.synthesis.motion import MotionDistribution
from posebridge.synthesis.stream import CHUNK, VideoSamples
from posebridge.synthesis.video import sample_shot, split_sensor

FRAMES = 2 * CHUNK + 7
VIDEOS = VideoSamples(STREET, 32, seed=3, frames=FRAMES)


@pytest.fixture(scope="module")
def video():
    return VIDEOS.samples(0, FRAMES)


def test_frames_have_names_and_numbers(video):
    assert set(video.sequence) == {"street-3-000000"}
    assert video.frame.tolist() == list(range(FRAMES))
    assert video.key[9] == "street-3-000000_000009"
    following = VIDEOS.samples(FRAMES, 3)
    assert following.sequence == ("street-3-000001",) * 3
    assert following.frame.tolist() == [0, 1, 2]


def test_frames_do_not_depend_on_earlier_requests(video):
    fresh = VideoSamples(STREET, 32, seed=3, frames=FRAMES)
    late = fresh.samples(CHUNK + 5, 4)
    for name in ("image", "uv_px", "joints_m", "depth_label_m", "angles_rad"):
        assert torch.equal(getattr(late, name), getattr(video[CHUNK + 5 : CHUNK + 9], name)), name


def test_only_the_pose_changes(video):
    assert (video.phenotypes == video.phenotypes[0]).all()
    assert (video.camera.K[0] == video.camera.K).all()
    bone = (video.joints_m[:, 9] - video.joints_m[:, 0]).norm(dim=-1)  # wrist to middle knuckle
    assert bone.std() < 1e-5
    assert (video.angles_rad.diff(dim=0).abs().amax(1) > 0).float().mean() > 0.9


def test_the_background_does_not_move():
    quiet = VideoSamples(replace(STREET, sensor=OFF), 32, seed=5, frames=24).samples(0, 24)
    never = (quiet.depth_label_m == 0).all(0)
    assert never.float().mean() > 0.2
    behind = quiet.rgb[:, :, never]
    torch.testing.assert_close(behind, behind[:1].expand_as(behind), atol=1e-6, rtol=0)


def test_noise_differs_between_frames_and_colours_do_not():
    sensor = replace(STREET.sensor, blur_probability=0.0, jpeg_probability=0.0, motion_probability=0.0, contrast=0.0)
    plain = replace(STUDIO, sensor=sensor)
    noisy = VideoSamples(plain, 32, seed=6, frames=16).samples(0, 16)
    clean = VideoSamples(replace(plain, sensor=OFF), 32, seed=6, frames=16).samples(0, 16)
    never = (clean.depth_label_m == 0).all(0)
    level = noisy.rgb[:, :, never].mean(-1)
    assert level.std(0).max() < 0.01
    assert (level[0] - clean.rgb[0, :, never].mean(-1)).abs().max() > 0.02
    assert (noisy.rgb[0, :, never] - noisy.rgb[1, :, never]).abs().mean() > 1e-3


def test_motion_is_smooth():
    """Between key poses, angles follow the curve: no jumps in place, speed or acceleration, by finite differences."""
    slow = replace(STREET, motion=MotionDistribution(keyframe_interval=100))
    shot = sample_shot(HandSubject(slow), 301, 32, (0, 1)).motion
    angles = shot.pose_shape_at(torch.arange(301)).angles_rad.double().numpy()
    span = np.abs(np.diff(shot.angles_rad.double().numpy(), axis=0)).max()
    speed, acceleration = np.diff(angles, axis=0), np.diff(angles, n=2, axis=0)
    # The curve's largest speed is 15/8, its largest acceleration 10 / sqrt(3), its largest jerk 60.
    assert np.abs(speed).max() <= 1.0001 * 15 / 8 * span / 100
    assert np.abs(acceleration).max() <= 1.01 * 10 / 3**0.5 * span / 100**2
    assert np.abs(np.diff(angles, n=3, axis=0)).max() <= 60 * span / 100**3 + 1e-5
    torch.testing.assert_close(torch.tensor(angles[::100]).float(), shot.angles_rad[:4])


def test_poses_between_poses_are_within_limits():
    subject = HandSubject(STREET)
    stacked = sample_shot(subject, 500, 32, (0, 2)).motion.pose_shape_at(torch.arange(500)).angles_rad
    angles = HandAngles.from_stacked(stacked)
    limited = clamp_to_limits(angles)
    torch.testing.assert_close(limited.thumb, angles.thumb)
    torch.testing.assert_close(limited.fingers[..., [0, 2, 3]], angles.fingers[..., [0, 2, 3]])


def test_the_subject_stays_in_the_picture(video):
    inside = ((video.uv_px > -0.5) & (video.uv_px < 31.5)).all(-1)
    assert inside.float().mean() > 0.97


def test_the_sensor_is_split_into_video_and_frame_effects():
    per_video, per_frame = split_sensor(STREET.sensor)
    assert (per_video.noise_probability, per_video.jpeg_probability, per_video.motion_probability) == (0, 0, 0)
    assert per_video.brightness == STREET.sensor.brightness
    assert per_video.blur_probability == STREET.sensor.blur_probability
    assert per_frame.noise_probability == STREET.sensor.noise_probability
    assert per_frame.read_noise == STREET.sensor.read_noise
    assert (per_frame.brightness, per_frame.blur_probability) == (0, 0)


def test_short_and_invalid_lengths():
    pairs = VideoSamples(STUDIO, 32, seed=0, frames=2).samples(0, 6)
    assert [f"{s[-1]}{f}" for s, f in zip(pairs.sequence, pairs.frame.tolist(), strict=True)] == [
        "00", "01", "10", "11", "20", "21",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"^frames=0: give the length of a video, 1 or more$"):
        VideoSamples(STUDIO, 32, seed=0, frames=0)
    with pytest.raises(InputError, match=r"^keyframe_interval=0"):
        MotionDistribution(keyframe_interval=0)
