"""Config of the mean teacher (UniFrame, Kim et al., ECCV 2022)."""

from dataclasses import dataclass, field, replace

from posebridge.data.augment import GeometryConfig
from posebridge.data.occlude import OcclusionConfig
from posebridge.methods.base import MethodConfig
from posebridge.methods.mean_teacher.temporal import TemporalConsistency
from posebridge.networks.vgg import VggConfig
from posebridge.rendering.photometry import AppearanceConfig
from posebridge.training.optimisers import Schedule
from posebridge.training.style import AdaINStyle, FourierStyle


@dataclass(frozen=True)
class MeanTeacherConfig(MethodConfig):
    """Defaults are UniFrame's where it gives them."""

    style: AdaINStyle | FourierStyle | None = field(default_factory=AdaINStyle)
    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=15_000, learning_rate=1e-4, drops=(5 / 30, 20 / 30))
    )
    batch_size: int = 32
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    occlusion: OcclusionConfig = field(default_factory=OcclusionConfig)
    average_decay: float = 0.999  # of the teacher, over parameters
    kept_frac: float = 0.5  # fraction of a batch's joints that are pseudo-labels: the most confident ones
    teacher_views: int = 1  # views of each frame; with two or more, their agreement scales the confidence
    agreement_frac: float = 0.03  # deviation of views, in image sides, at which confidence falls to exp(-1/2)
    source_to_target: float = 0.5  # probability that source images take the target's style
    target_to_source: float = 0.5  # probability that the teacher's images take the source's style
    heat_weight: float = 0.5
    depth_weight: float = 0.05
    consistency_weight: float = 1.0
    depth_consistency_weight: float = 0.1
    # Consistency of heat maps between neighbouring frames of a video (Lin et al., NeurIPS 2023, Table 5a). None: no
    # videos are needed.
    temporal: TemporalConsistency | None = None

    def feature_networks(self) -> tuple[VggConfig, ...]:
        """The VGG of AdaIN's style."""
        return () if self.style is None else self.style.feature_networks()

    def with_feature_weights(self, weights: str) -> "MeanTeacherConfig":
        """The config with other weights of the VGG; "none" transfers style by Fourier amplitudes instead."""
        return self if self.style is None else replace(self, style=self.style.with_feature_weights(weights))
