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
        """A given model of this method's, or the transformer for crops of the preset's size.

        Raises ``InputError`` as ``VolumePoseSpec.for_crops_of`` does.
        """
        return preset_spec if isinstance(preset_spec, VolumePoseSpec) else self.model.for_crops_of(preset_spec)

    def with_encoder_weights(self, weights: str) -> Self:
        """The config with other initial weights of the transformer."""
        return replace(self, model=self.model.with_encoder_weights(weights))

    def with_unconstrained(self, folder: Path) -> Self:
        """The config with a folder of unconstrained images."""
        return replace(self, unconstrained=folder)

    @property
    def needs_target_masks(self) -> bool:
        """Whether the masks of the target are used."""
        return self.pretraining is not None and self.pretraining.needs_target_masks
