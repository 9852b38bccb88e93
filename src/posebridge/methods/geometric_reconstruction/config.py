"""Config of geometric reconstruction (Lin, Gu, Yang and Yao, NeurIPS 2023)."""

from dataclasses import dataclass, field, replace
from typing import Any

from posebridge.data.augment import GeometryConfig
from posebridge.data.occlude import OcclusionConfig
from posebridge.data.pairs import PairConfig
from posebridge.methods.base import MethodConfig
from posebridge.methods.geometric_reconstruction.integrated_labels import LabelIntegration
from posebridge.methods.geometric_reconstruction.pretraining import PretrainingConfig
from posebridge.methods.geometric_reconstruction.reconstructor_training import ReconstructionConfig
from posebridge.networks.vgg import VggConfig
from posebridge.rendering.photometry import AppearanceConfig
from posebridge.training.optimisers import Schedule
from posebridge.training.style import AdaINStyle, FourierStyle


@dataclass(frozen=True)
class GeometricReconstructionConfig(MethodConfig):
    """Defaults are the paper's. Comments give the reason for values that the paper leaves open."""

    # Start from the source-trained network. In the paper, pretraining (Eq. 10) starts from initial weights.
    from_source_model: bool = False
    pretraining: PretrainingConfig | None = field(default_factory=PretrainingConfig)
    style: AdaINStyle | FourierStyle | None = field(default_factory=AdaINStyle)
    reconstruction: ReconstructionConfig | None = field(default_factory=ReconstructionConfig)  # None: without
    labels: LabelIntegration = field(default_factory=LabelIntegration)
    # Epochs 0 to 20, of 500 steps, without reconstruction; the paper doesn't give the length. Then epochs 20 to 80; the
    # rate falls to a tenth at epochs 60 and 75.
    warm_start: Schedule = field(default_factory=lambda: Schedule(steps=10_000, learning_rate=1e-4, decay="none"))
    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=30_000, learning_rate=1e-4, drops=(40 / 60, 55 / 60))
    )
    batch_size: int = 32  # target frames, which are half as many pairs
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    occlusion: OcclusionConfig = field(default_factory=OcclusionConfig)
    # The teacher is UniFrame's, whose pseudo-labels are the paper's baseline (supplement B).
    average_decay: float = 0.999
    kept_frac: float = 0.5  # gamma_2D, as in UniFrame: the more confident half of a batch
    teacher_views: int = 1
    agreement_frac: float = 0.03
    source_to_target: float = 0.5
    target_to_source: float = 0.5
    heat_weight: float = 1.0  # L_sup, Eq. 1 and 11
    depth_weight: float = 0.1
    pseudo_label_weight: float = 0.1  # lambda_p, Eq. 11

    def without_reconstruction(self) -> "GeometricReconstructionConfig":
        """The config for pseudo-labels alone, with the same warm start, steps and learning rates."""
        return replace(self, reconstruction=None)

    @property
    def steps(self) -> int:
        """Steps of warm start and fine-tuning."""
        return self.warm_start.steps + self.schedule.steps

    @property
    def warm_start_frac(self) -> float:
        """Fraction of these steps that is the warm start."""
        return self.warm_start.steps / self.steps

    def one_cycle(self) -> Schedule:
        """A schedule of as many steps in one stage, whose rate falls at the same steps."""
        drops = tuple((self.warm_start.steps + drop * self.schedule.steps) / self.steps for drop in self.schedule.drops)
        return replace(self.schedule, steps=self.steps, drops=drops)

    @property
    def starts_untrained(self) -> bool:
        """Whether pretraining starts from a new network."""
        return not self.from_source_model

    @property
    def source_videos(self) -> bool:
        """Whether the reconstructor also trains on videos of the source."""
        return self.reconstruction is not None and self.reconstruction.source_videos

    @property
    def target_pairs(self) -> PairConfig | None:
        """The pairs that are reconstructed."""
        return None if self.reconstruction is None else self.reconstruction.pairs

    def with_pairs(self, pairs: PairConfig) -> "GeometricReconstructionConfig":
        """The config with other pairs of target frames."""
        return self._with_reconstruction(pairs=pairs)

    def with_moving_camera(self) -> "GeometricReconstructionConfig":
        """The config for moving cameras: an affine map of the background is predicted for each pair."""
        if self.reconstruction is None:
            return self
        reconstructor = self.reconstruction.reconstructor
        warping = replace(reconstructor.warping, background="affine")
        return self._with_reconstruction(reconstructor=replace(reconstructor, warping=warping))

    def feature_networks(self) -> tuple[VggConfig, ...]:
        """The VGGs of style and of the perceptual loss."""
        style = () if self.style is None else self.style.feature_networks()
        loss = () if self.reconstruction is None else self.reconstruction.features.feature_networks()
        return style + loss

    def with_feature_weights(self, weights: str) -> "GeometricReconstructionConfig":
        """The config with other weights of the VGGs.

        "none" transfers style by Fourier amplitudes and compares frames by the pose network's own features.
        """
        config = self if self.style is None else replace(self, style=self.style.with_feature_weights(weights))
        if config.reconstruction is None:
            return config
        return config._with_reconstruction(features=config.reconstruction.features.with_feature_weights(weights))

    def _with_reconstruction(self, **changes: Any) -> "GeometricReconstructionConfig":
        if self.reconstruction is None:
            return self
        return replace(self, reconstruction=replace(self.reconstruction, **changes))
