"""Config of RegDA (Jiang et al., CVPR 2021)."""

from dataclasses import dataclass, field

from posebridge.data.augment import GeometryConfig
from posebridge.methods.base import MethodConfig
from posebridge.rendering.photometry import AppearanceConfig
from posebridge.training.optimisers import Schedule


@dataclass(frozen=True)
class RegDAConfig(MethodConfig):
    """Defaults are the paper's, and its public code's where the paper gives none."""

    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            steps=15_000, learning_rate=0.1, decay="inverse", weight_decay=1e-4, optimiser="sgd"
        )
    )
    batch_size: int = 32
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    encoder_rate: float = 0.1  # of the encoder, as a fraction of the schedule's
    head_channels: int = 256  # of the adversarial head
    heat_weight: float = 1.0
    depth_weight: float = 0.1  # of 2.5D poses, which the paper doesn't have
    margin: float = 4.0  # weight of the adversarial head's loss on the source
    disparity_weight: float = 1.0  # of the disparities on the target
    # Gradients from the adversarial head to the features are multiplied by a factor that rises from 0 to this value.
    most_gradient: float = 0.1
    rise_steps: int = 1_000
