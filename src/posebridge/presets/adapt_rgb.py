"""Adaptation of hands or people from renders to a user's images or video."""

from dataclasses import replace
from typing import Any

from posebridge.data.augment import GeometryConfig
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.frame_reconstructor import FrameReconstructorConfig
from posebridge.methods.geometric_reconstruction.integrated_labels import LabelIntegration
from posebridge.methods.geometric_reconstruction.perceptual_features import EncoderFeatures
from posebridge.methods.geometric_reconstruction.reconstructor_training import ReconstructionConfig
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.methods.regda.config import RegDAConfig
from posebridge.methods.self_training.config import SelfTrainingConfig, cc_ssl
from posebridge.methods.source_only import SourceOnlyConfig
from posebridge.networks.hourglass import HourglassConfig
from posebridge.networks.reconstruction import GeneratorConfig
from posebridge.networks.warping import WarpingConfig
from posebridge.presets.dual_modality import full_dual_modality, small_dual_modality
from posebridge.presets.masked_reconstruction import full_masked_reconstruction, small_masked_reconstruction
from posebridge.presets.pose_specs import full_pose, small_pose
from posebridge.presets.preset import DataSizes, Preset, SelectionConfig
from posebridge.presets.semihand import full_of_hands, large_crops_of_hands
from posebridge.rendering.photometry import STRONG
from posebridge.skeletons.body import BODY22
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import SourceTrainingConfig
from posebridge.training.style import FourierStyle

_HANDS = GeometryConfig(rotation_deg=45.0, shear_deg=12.0, translation=0.06, scale=(0.75, 1.25))
# People stand upright more often than hands do, and have a left and a right.
_PEOPLE = GeometryConfig(rotation_deg=25.0, shear_deg=8.0, translation=0.06, scale=(0.75, 1.25), flip_probability=0.5)
_APPEARANCE = replace(STRONG, erase_probability=0.15)


def _schedule(steps: int, learning_rate: float) -> Schedule:
    return Schedule(
        steps=steps, learning_rate=learning_rate, decay="cosine", warmup=0.03, weight_decay=1e-4, clip_norm=5.0
    )


def _geometric_reconstruction(views: GeometryConfig) -> GeometricReconstructionConfig:
    """Geometric reconstruction of frames that are reduced to the 64 px of SynthShift.

    Numbers of steps are such that two CPU cores adapt a shipped model of 128 px to 200 frames in a quarter of an hour.
    """
    return GeometricReconstructionConfig(
        from_source_model=True,
        pretraining=None,
        style=FourierStyle(),
        reconstruction=ReconstructionConfig(
            reconstructor=FrameReconstructorConfig(
                image_px=64,
                grid_stride=2,
                bone_sigma=1.2,
                warping=WarpingConfig(HourglassConfig(blocks=4, channels=16, most_channels=128), mask_prior=1.0),
                generator=GeneratorConfig(channels=16, residual_blocks=3),
            ),
            features=EncoderFeatures(levels=2),
            joint_temperature=0.5,
            source_videos=True,
            schedule=_schedule(400, learning_rate=1e-3),
            batch_pairs=16,
            weight=3.0,
            fine_tuning_rate=0.2,
            fine_tune_on_source=True,
        ),
        labels=LabelIntegration(combination="separate", max_correction_frac=0.01, joint_temperature=0.5),
        warm_start=_schedule(150, learning_rate=5e-4),
        schedule=_schedule(250, learning_rate=5e-4),
        batch_size=32,
        geometry=views,
        appearance=STRONG,
        average_decay=0.98,
        teacher_views=2,
        kept_frac=0.6,
        heat_weight=1.0,
        depth_weight=0.5,
        pseudo_label_weight=1.0,
    )


def _self_training(views: GeometryConfig) -> dict[str, Any]:
    """Steps and losses of the mean teacher."""
    return {
        "schedule": _schedule(600, learning_rate=5e-4),
        "geometry": views,
        "appearance": STRONG,
        "depth_weight": 0.5,
        "pseudo_heat_weight": 1.0,
    }


def _small(family: str, skeleton: Skeleton, views: GeometryConfig, target_rotation_deg: float) -> Preset:
    """For two CPU cores. Frames of the target are rotated by less than those of the source."""
    target_views = replace(views, rotation_deg=target_rotation_deg)
    reconstruction = _geometric_reconstruction(target_views)
    return Preset(
        family=family,
        name="small",
        model=small_pose(skeleton, 96),
        data=DataSizes(source=30_000, source_with_model=4_000, source_video_frames=3_000),
        selection=SelectionConfig(evaluations=4, against_source=True),
        source=SourceTrainingConfig(
            schedule=_schedule(4_000, learning_rate=2e-3),
            batch_size=64,
            geometry=views,
            appearance=_APPEARANCE,
            depth_weight=0.5,
        ),
        methods={
            "source-only": SourceOnlyConfig(),
            "mean-teacher": MeanTeacherConfig(
                style=FourierStyle(),
                schedule=_schedule(600, learning_rate=5e-4),
                batch_size=32,
                geometry=target_views,
                appearance=STRONG,
                average_decay=0.99,
                teacher_views=2,
                kept_frac=0.6,
                heat_weight=1.0,
                depth_weight=0.5,
            ),
            "self-training": SelfTrainingConfig(**_self_training(target_views)),
            "cc-ssl": cc_ssl(**_self_training(target_views)),
            "regda": RegDAConfig(
                schedule=_schedule(600, learning_rate=5e-4),
                geometry=target_views,
                appearance=STRONG,
                encoder_rate=1.0,
                head_channels=64,
                depth_weight=0.5,
                rise_steps=200,
            ),
            "integrated-pseudo-labels": reconstruction.without_reconstruction(),
            "geometric-reconstruction": reconstruction,
            "masked-reconstruction": small_masked_reconstruction(skeleton, views),
            **large_crops_of_hands(skeleton, views),
            **small_dual_modality(skeleton, views),
        },
    )


def _full(family: str, skeleton: Skeleton, views: GeometryConfig) -> Preset:
    """For a GPU: the papers' values."""
    return Preset(
        family=family,
        name="full",
        model=full_pose(skeleton),
        data=DataSizes(source=60_000, source_with_model=60_000, source_video_frames=15_000),
        selection=SelectionConfig(against_source=True),
        source=SourceTrainingConfig(geometry=views, appearance=_APPEARANCE),
        methods={
            "source-only": SourceOnlyConfig(),
            "mean-teacher": MeanTeacherConfig(geometry=views),
            "regda": RegDAConfig(geometry=views),
            "self-training": SelfTrainingConfig(geometry=views),
            "cc-ssl": cc_ssl(geometry=views),
            "integrated-pseudo-labels": GeometricReconstructionConfig(geometry=views).without_reconstruction(),
            "geometric-reconstruction": GeometricReconstructionConfig(geometry=views),
            "masked-reconstruction": full_masked_reconstruction(skeleton, views),
            **full_of_hands(skeleton),
            **full_dual_modality(skeleton),
        },
    )


PRESETS = (
    _small("adapt/hand", HAND21, _HANDS, target_rotation_deg=30.0),
    _full("adapt/hand", HAND21, _HANDS),
    _small("adapt/body", BODY22, _PEOPLE, target_rotation_deg=15.0),
    _full("adapt/body", BODY22, _PEOPLE),
)
