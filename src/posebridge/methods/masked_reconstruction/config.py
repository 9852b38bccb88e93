"""Config of masked reconstruction (Leveraging 2D Masked Reconstruction for Domain Adaptation of 3D Pose, 2025)."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from posebridge.deployment.model_spec import ModelSpec, VolumePoseSpec
from posebridge.methods.base import MethodConfig
from posebridge.methods.masked_reconstruction.fine_tuning import FineTuningConfig
from posebridge.methods.masked_reconstruction.pretraining import PretrainingConfig
from posebridge.methods.masked_reconstruction.segmentation import SegmentationTrainingConfig


@dataclass(frozen=True)
class MaskedReconstructionConfig(MethodConfig):
    """Defaults are the paper's, for hands."""

    model: VolumePoseSpec = field(default_factory=VolumePoseSpec)
    decoder_width: int = 512  # of the autoencoder, as in MAE: not given
    decoder_heads: int = 16
    segmentation: SegmentationTrainingConfig = field(default_factory=SegmentationTrainingConfig)
    pretraining: PretrainingConfig | None = field(default_factory=PretrainingConfig)  # None: trained from scratch
    fine_tuning: FineTuningConfig = field(default_factory=FineTuningConfig)
    unconstrained: Path | None = None  # folder of images unrelated to the subject; None: painted ones

    def model_spec(self, preset_spec: ModelSpec) -> ModelSpec:
        """The transformer, for crops of the preset's size: as many patches, of another size.

        Raises ``InputError`` for a size that can't be cut into so many patches.
        """
        vit, size_px = self.model.network.vit, preset_spec.size_px
        resized = replace(vit, size_px=size_px, patch_px=size_px // vit.grid)
        network = replace(self.model.network, vit=resized)
        return replace(self.model, network=network, skeleton=preset_spec.skeleton, size_px=size_px)

    def with_unconstrained(self, folder: Path) -> Self:
        """The config with a folder of unconstrained images."""
        return replace(self, unconstrained=folder)

    @property
    def needs_target_masks(self) -> bool:
        """Whether the masks of the target are used."""
        return self.pretraining is not None and self.pretraining.needs_target_masks
