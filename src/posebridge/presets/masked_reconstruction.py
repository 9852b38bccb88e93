"""Masked reconstruction: the paper's values, and values for two CPU cores."""

from dataclasses import replace

from posebridge.data.augment import GeometryConfig
from posebridge.deployment.model_spec import VolumePoseSpec
from posebridge.methods.masked_reconstruction.config import MaskedReconstructionConfig
from posebridge.methods.masked_reconstruction.fine_tuning import FineTuningConfig
from posebridge.methods.masked_reconstruction.pretraining import PretrainingConfig
from posebridge.methods.masked_reconstruction.segmentation import SegmentationTrainingConfig
from posebridge.methods.masked_reconstruction.settings import FULL, SETTINGS
from posebridge.networks.pose_vit import PoseViTConfig
from posebridge.networks.segmentation import SegmentationConfig
from posebridge.networks.vision_transformer import ViTConfig
from posebridge.presets.preset import Preset, presets_of_rows
from posebridge.rendering.photometry import STRONG
from posebridge.representations.pose_volumes import PoseVolumes
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.optimisers import Schedule

METHOD = "masked-reconstruction"
_MAE_RATE = 1.5e-4  # for each 256 images of a step
_HAND_DEPTH, _BODY_DEPTH = PoseVolumes.depth_range, 3.5  # in reference bones


def _depth_range(skeleton: Skeleton) -> float:
    return _HAND_DEPTH if skeleton.name == HAND21.name else _BODY_DEPTH


def small_masked_reconstruction(skeleton: Skeleton, views: GeometryConfig) -> MaskedReconstructionConfig:
    """For two CPU cores: 8 x 8 patches, depth 6, width 192.

    Volumes are trained by cross-entropy: nearly all voxels of a target are empty, and the squared error starts slowly.
    """
    vit = ViTConfig(size_px=64, patch_px=8, width=192, depth=6, heads=3)
    return MaskedReconstructionConfig(
        model=VolumePoseSpec(
            network=PoseViTConfig(vit, joints=len(skeleton), head_channels=64),
            volumes=PoseVolumes(
                "softmax", sigma=1.0, depth_bins=24, depth_range=_depth_range(skeleton), decoding="mean"
            ),
            skeleton=skeleton.name,
        ),
        decoder_width=96,
        decoder_heads=3,
        segmentation=SegmentationTrainingConfig(
            network=SegmentationConfig(width=16),
            schedule=Schedule(
                steps=600, learning_rate=2e-3, decay="cosine", warmup=0.05, weight_decay=1e-4, clip_norm=5.0
            ),
            geometry=views,
        ),
        pretraining=PretrainingConfig(
            schedule=Schedule(
                steps=1_700,  # 20 epochs of 11,000 images
                learning_rate=8 * _MAE_RATE,
                decay="cosine",
                warmup=0.05,
                weight_decay=0.05,
                second_momentum=0.95,
            ),
            batch_size=128,
            accumulated=1,
            geometry=views,
        ),
        fine_tuning=FineTuningConfig(
            schedule=Schedule(
                steps=1_500, learning_rate=2e-3, decay="cosine", warmup=0.05, weight_decay=0.05, clip_norm=5.0
            ),
            batch_size=32,
            target_batch_size=16,
            geometry=views,
            appearance=STRONG,
        ),
    )


def full_masked_reconstruction(skeleton: Skeleton, views: GeometryConfig) -> MaskedReconstructionConfig:
    """For a GPU: the paper's values. People are fine-tuned for 100 epochs with lambda 10, hands for 50 with 100."""
    config = MaskedReconstructionConfig()
    is_hand = skeleton.name == HAND21.name
    tuning = replace(config.fine_tuning, geometry=views)
    if not is_hand:
        schedule = replace(tuning.schedule, steps=2 * tuning.schedule.steps)
        tuning = replace(tuning, schedule=schedule, attention_weight=10.0)
    network = replace(config.model.network, joints=len(skeleton))
    volumes = replace(config.model.volumes, depth_range=_depth_range(skeleton))
    model = replace(config.model, network=network, volumes=volumes, skeleton=skeleton.name)
    return replace(config, model=model, fine_tuning=tuning)


def presets_of_settings(preset: Preset) -> tuple[Preset, ...]:
    """The presets of the paper's other rows (``settings.py``), each of this method alone; none without the method."""
    return presets_of_rows(preset, METHOD, SETTINGS, FULL)
