"""What geometric reconstruction is configured by (Lin, Gu, Yang and Yao, NeurIPS 2023)."""

from dataclasses import dataclass, field, replace

from posebridge.data.augment import GeometryConfig
from posebridge.data.occlude import OcclusionConfig
from posebridge.methods.geometric_reconstruction.integrated_labels import LabelIntegration
from posebridge.methods.geometric_reconstruction.pretraining import PretrainingConfig
from posebridge.methods.geometric_reconstruction.reconstructor_training import ReconstructionConfig
from posebridge.rendering.photometry import AppearanceConfig
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import SourceTrainingConfig
from posebridge.training.style import AdaINStyle, FourierStyle


@dataclass(frozen=True)
class GeometricReconstructionConfig:
    """Defaults are the paper's; where it is silent, the reason stands beside the value."""

    source: SourceTrainingConfig | None = None  # plain training before Eq. 10; the paper has none
    pretraining: PretrainingConfig | None = field(default_factory=PretrainingConfig)
    style: AdaINStyle | FourierStyle | None = field(default_factory=AdaINStyle)
    reconstruction: ReconstructionConfig | None = field(default_factory=ReconstructionConfig)  # None: pseudo-labels
    labels: LabelIntegration = field(default_factory=LabelIntegration)
    schedule: Schedule = field(  # epochs 20 to 80, of 500 steps; a tenth of the rate from epochs 60 and 75 on
        default_factory=lambda: Schedule(steps=30_000, learning_rate=1e-4, drops=(40 / 60, 55 / 60))
    )
    batch_size: int = 32  # target frames; half as many pairs
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    occlusion: OcclusionConfig = field(default_factory=OcclusionConfig)
    # The teacher is UniFrame's, whose pseudo-labels are the paper's baseline (supplement B).
    average_decay: float = 0.999
    kept_share: float = 0.5  # gamma_2D as UniFrame has it: the upper half of a batch's peaks
    teacher_views: int = 1
    agreement_frac: float = 0.03
    source_to_target: float = 0.5
    target_to_source: float = 0.5
    heat_weight: float = 1.0  # L_sup, Eq. 1 and 11
    depth_weight: float = 0.1
    pseudo_label_weight: float = 0.1  # lambda_p, Eq. 11
    selections: int = 8

    def without_reconstruction(self) -> "GeometricReconstructionConfig":
        """Pseudo-labels alone, for as many steps, the rate falling where it fell."""
        if self.reconstruction is None:
            return self
        warm, rest = self.reconstruction.warm_start.steps, self.schedule
        steps = warm + rest.steps
        drops = tuple((warm + drop * rest.steps) / steps for drop in rest.drops)
        return replace(self, reconstruction=None, schedule=replace(rest, steps=steps, drops=drops))

    def with_moving_background(self) -> "GeometricReconstructionConfig":
        """For cameras that move: the background of redrawn frames goes by a predicted affine map."""
        if self.reconstruction is None:
            return self
        redrawing = self.reconstruction.reconstructor
        redrawing = replace(redrawing, warping=replace(redrawing.warping, background="affine"))
        return replace(self, reconstruction=replace(self.reconstruction, reconstructor=redrawing))
