"""Config of aligned latent spaces (chapter 5 of Yang's dissertation, 2022)."""

from dataclasses import dataclass, field
from typing import Literal

from posebridge.contracts.source_labels import JOINTS, SourceLabels
from posebridge.data.augment import GeometryConfig
from posebridge.errors import InputError
from posebridge.methods.base import MethodConfig
from posebridge.networks.point_clouds import CloudCoderConfig
from posebridge.rendering.photometry import OFF, AppearanceConfig
from posebridge.training.optimisers import Schedule

LatentAlignment = Literal["none", "divergence", "product"]
_OF_CLOUDS: SourceLabels = frozenset({"hand_mask", "depth"})


@dataclass(frozen=True)
class AlignedLatentSpacesConfig(MethodConfig):
    """Defaults are the dissertation's of RC2CHP by a product of experts, where it gives them; its steps are not given.

    Whether heat maps are decoded and views corrected is part of the network, ``AlignedPoseConfig``.
    """

    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=150_000, learning_rate=1e-4, decay="steps", drops=(0.6, 0.85))
    )
    batch_size: int = 32
    labelled: int | None = None  # samples with joints, the first ones of the source; None: all
    weak_batch_size: int = 32  # of the others, whose joints are not used: RC2C; 0: they are left out
    clouds: CloudCoderConfig | None = field(default_factory=CloudCoderConfig)  # None: clouds are not decoded
    alignment: LatentAlignment = "product"  # with the encoder of clouds: by Eq. 5.3 or Eq. 5.4; none: images alone
    prior_expert: bool = False  # adds N(0, I) to the product, as the text has it and Eq. 5.5 does not
    beta: tuple[float, float] = (1e-5, 1e-3)  # of the divergence from the prior, first and last, rising by a factor
    alignment_weight: float = 1.0  # beta' of Eq. 5.3
    heat_weight: float = 0.01  # lambda_heat of Eq. 5.10
    cloud_weight: float = 1.0  # lambda_cloud
    geometry: GeometryConfig = field(
        default_factory=lambda: GeometryConfig(rotation_deg=180, shear_deg=0, translation=20 / 256, scale=(1.0, 1.2))
    )
    appearance: AppearanceConfig = field(default_factory=lambda: hue_alone(0.1))

    def __post_init__(self):
        if self.alignment != "none" and self.clouds is None:
            raise InputError(f"alignment={self.alignment} aligns images with clouds: give clouds, or alignment=none")
        if self.labelled is not None and self.labelled < 1:
            raise InputError(f"labelled={self.labelled} leaves no sample with joints: give 1 or more")
        if not 0 < self.beta[0] <= self.beta[1]:
            raise InputError(f"beta={self.beta} is no rising range: give 0 < first <= last")

    def source_labels(self, labels: SourceLabels) -> SourceLabels:
        """Joints; masks and depth where clouds are used."""
        return labels if self.clouds is None else labels | _OF_CLOUDS

    def check_source(self, name: str, offered: SourceLabels) -> None:
        """Raise ``InputError`` where clouds are used and the dataset lacks masks of hands or depth."""
        missing = sorted(self.source_labels(JOINTS) - JOINTS - offered)
        if missing:
            raise InputError(
                f"{name} has no {' and no '.join(missing)} to make clouds of: "
                "choose the preset of a strategy without clouds, such as full-R2P or full-R2HP"
            )

    def beta_at(self, step: int) -> float:
        """The weight of the divergence from the prior in a step."""
        first, last = self.beta
        return first * (last / first) ** min(1.0, step / max(1, self.schedule.steps - 1))

    def source_recipe(self) -> tuple[object, ...]:
        """The whole config: the method trains on the source alone."""
        return (self,)


def hue_alone(turns: float) -> AppearanceConfig:
    """Random hue, uniform in [-turns, turns], and no other effect."""
    return AppearanceConfig(**{**vars(OFF), "hue": turns})
