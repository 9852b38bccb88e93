"""Videos of one subject and a fixed camera, with smooth motion between sampled key poses.

Key poses are sampled at a fixed interval of frames. Between two of them, joint angles, rotation and position are
interpolated by a curve with zero speed and acceleration at both ends. So every frame is within the joint limits.
Background, light, clothes, shape and camera are constant; noise, motion blur and compression are sampled per frame.
"""

from dataclasses import dataclass, replace

import roma
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch
from posebridge.draw import generator_for, normal
from posebridge.rendering.photometry import OFF, AppearanceConfig, apply_appearance
from posebridge.synthesis.lights import sample_lighting
from posebridge.synthesis.motion import MotionDistribution
from posebridge.synthesis.sample_selection import select_samples
from posebridge.synthesis.scene import ImageLayers, Shading, render_scene, sample_image_layers
from posebridge.synthesis.subject import PlacedSubjects, PoseShape, Subject, transform_points
from posebridge.synthesis.viewpoints import frame_joints, sample_rotations, sample_translations

# Indices of the random streams of a video. A trailing 0 would seed the same generator as no index, so they start at 1.
_SCENE, _MOTION, _CAMERA, _FRAMES = 1, 2, 3, 4


@dataclass(frozen=True)
class Motion:
    """K key poses of one subject, and their interpolation."""

    subject: Subject
    keyframe_interval: int
    phenotypes: Float[Tensor, "1 P"]
    angles_rad: Float[Tensor, "K A"]
    R_cam_subject: Float[Tensor, "1 3 3"]
    rotvec_rad: Float[Tensor, "K 3"]  # rotation vectors in the camera frame, after ``R_cam_subject``
    translations_m: Float[Tensor, "K 3"]

    def pose_shape_at(self, frame: Int[Tensor, "T"]) -> PoseShape:
        """Pose and shape at T frames."""
        return PoseShape(self._between(self.angles_rad, frame), self.phenotypes.expand(len(frame), -1))

    def mesh_at(self, frame: Int[Tensor, "T"]) -> tuple[Float[Tensor, "T V 3"], Float[Tensor, "T J 3"]]:
        """Vertices and joints at T frames, in the camera frame, metres."""
        vertices_m, joints_m = self.subject.pose_mesh(self.pose_shape_at(frame))
        R = roma.rotvec_to_rotmat(self._between(self.rotvec_rad, frame)) @ self.R_cam_subject
        t_m = self._between(self.translations_m, frame)
        return transform_points(R, t_m, vertices_m), transform_points(R, t_m, joints_m)

    def _between(self, keys: Float[Tensor, "K D"], frame: Int[Tensor, "T"]) -> Float[Tensor, "T D"]:
        key = (frame // self.keyframe_interval).clamp(max=len(keys) - 2)
        t = frame / self.keyframe_interval - key
        return torch.lerp(keys[key], keys[key + 1], _smooth(t)[:, None])


@dataclass(frozen=True)
class Shot:
    """One video: a motion, and the camera, shading and image layers that stay constant."""

    motion: Motion
    camera: Camera
    shading: Shading
    layers: ImageLayers
    stream: tuple[int, int]  # seed and number of the video

    def frames(self, start: int, count: int) -> LabelledBatch:
        """Frames ``start`` to ``start + count``. The sensor's per-frame effects depend on ``start`` too."""
        frame = torch.arange(start, start + count)
        row = torch.zeros_like(frame)
        vertices_m, joints_m = self.motion.mesh_at(frame)
        placed = PlacedSubjects(vertices_m, joints_m, self.camera[row])
        shading, layers = select_samples(self.shading, row), select_samples(self.layers, row)
        batch = render_scene(self.motion.subject, self.motion.pose_shape_at(frame), placed, shading, layers)
        image = self._apply_sensor(batch.rgb, generator_for(*self.stream, _FRAMES, start))
        return replace(batch, image=image, frame=frame)

    def _apply_sensor(self, images: Float[Tensor, "T 3 H W"], generator: Generator) -> Float[Tensor, "T 3 H W"]:
        """Apply the sensor: colours and focus are sampled once per video, noise per frame."""
        per_video, per_frame = split_sensor(self.motion.subject.domain.sensor)
        developed = [
            apply_appearance(image[None], per_video, generator_for(*self.stream, _CAMERA, 1)) for image in images
        ]
        return apply_appearance(torch.cat(developed), per_frame, generator)


def split_sensor(sensor: AppearanceConfig) -> tuple[AppearanceConfig, AppearanceConfig]:
    """Split a sensor into the effects sampled once per video and those sampled per frame."""
    frame_effects = ("motion_probability", "noise_probability", "jpeg_probability", "erase_probability")
    per_video = replace(sensor, **dict.fromkeys(frame_effects, 0.0))
    sizes = ("motion_length", "shot_noise", "read_noise", "jpeg_quality", "erase_side")
    return per_video, replace(OFF, **{name: getattr(sensor, name) for name in frame_effects + sizes})


def sample_shot(subject: Subject, frames: int, size_px: int, stream: tuple[int, int]) -> Shot:
    """Sample video ``stream[1]`` of seed ``stream[0]``, ``frames`` frames long."""
    scene = generator_for(*stream, _SCENE)
    distribution = subject.domain.motion
    motion = _draw_motion(subject, distribution, frames, scene, generator_for(*stream, _MOTION))
    keys = torch.arange(len(motion.angles_rad)) * motion.keyframe_interval
    _, joints_m = motion.mesh_at(keys)
    extent_frac = (distribution.joint_extent_frac, distribution.joint_extent_frac)
    whole = replace(subject.domain.viewpoints, joint_extent_frac=extent_frac, offset_frac=0.0)
    camera = frame_joints(whole, joints_m.flatten(0, 1)[None], size_px, scene)
    shading = Shading(subject.sample_appearance(1, scene), sample_lighting(subject.domain.lights, 1, scene))
    # Two samples, because the occluder of the first shows the background of the second.
    first = torch.zeros(2, dtype=torch.long)
    vertices_m, joints_m = motion.mesh_at(first)
    both = sample_image_layers(subject.domain, PlacedSubjects(vertices_m, joints_m, camera[first]), size_px, scene)
    return Shot(motion, camera, shading, select_samples(both, first[:1]), stream)


def _draw_motion(
    subject: Subject, distribution: MotionDistribution, frames: int, scene: Generator, moving: Generator
) -> Motion:
    keys = (frames - 1) // distribution.keyframe_interval + 2
    viewpoints = subject.domain.viewpoints
    first = subject.sample_pose_shape(1, scene)
    R_cam_subject = sample_rotations(viewpoints, 1, scene)
    t_m = sample_translations(viewpoints, 1, scene)
    angles = subject.sample_angles(first.phenotypes.expand(keys - 1, -1), moving)
    return Motion(
        subject=subject,
        keyframe_interval=distribution.keyframe_interval,
        phenotypes=first.phenotypes,
        angles_rad=torch.cat([first.angles_rad, angles]),
        R_cam_subject=R_cam_subject,
        rotvec_rad=torch.deg2rad(torch.tensor(distribution.turn_deg) * normal(moving, 1.0, keys, 3)),
        translations_m=t_m + t_m[:, 2:] * normal(moving, distribution.sway_frac, keys, 3),
    )


def _smooth(t: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
    """Interpolation factor from 0 to 1 with zero speed and acceleration at both ends (Perlin, SIGGRAPH 2002)."""
    return t * t * t * (t * (6 * t - 15) + 10)
