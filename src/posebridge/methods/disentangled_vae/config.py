"""Config of the disentangled VAE (chapter 4 of Yang's dissertation, 2022)."""

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from posebridge.data.augment import GeometryConfig
from posebridge.errors import InputError
from posebridge.methods.base import MethodConfig
from posebridge.rendering.photometry import AppearanceConfig
from posebridge.training.optimisers import Schedule

Unlabelled = Literal["none", "poses", "viewpoints"]


def _schedule(steps: int) -> Schedule:
    """Adam with the rate 1e-4, as in the chapter; numbers of steps are not given."""
    return Schedule(steps=steps, learning_rate=1e-4, decay="none")


@dataclass(frozen=True)
class BoundConfig:
    """A step of Algorithm 4.1 or 4.2: its schedule, and the weights of its evidence lower bound."""

    schedule: Schedule = field(default_factory=lambda: _schedule(100_000))  # not given
    batch_size: int = 32
    lambda_x: float = 1.0
    lambda_y: float = 0.01  # of each factor
    beta: float = 1.0  # of the KL divergence


@dataclass(frozen=True)
class EstimationConfig:
    """Pose estimation (Fig. 4.2c): x is the 3D pose, factors are canonical pose and viewpoint, images are embedded.

    ``beta`` of the embedding step is beta''' of Eq. 4.8, 0.01. That of the disentangling step is not given.
    """

    disentangling: BoundConfig = field(default_factory=lambda: BoundConfig(beta=0.01))
    embedding: BoundConfig = field(default_factory=lambda: BoundConfig(beta=0.01))
    labelled: int | None = None  # samples with all labels, the first ones of the source; None: all
    # What the other samples keep. poses: 3D poses without images, in the disentangling step (semi-supervised).
    # viewpoints: images with viewpoints, in the embedding step (weakly supervised).
    unlabelled: Unlabelled = "none"
    lambda_weak: float = 1.0  # of viewpoints of weakly labelled images; not given
    deviation: float = 1.0  # of likelihoods: of coordinates in reference bones, of entries of rotations
    geometry: GeometryConfig = field(default_factory=lambda: GeometryConfig(shear_deg=0.0))
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)

    def __post_init__(self):
        """Raises ``InputError`` for sheared views, for numbers out of range and for samples that aren't there."""
        if self.geometry.shear_deg:
            raise InputError("a sheared view shows no rotated pose: set shear_deg to 0")
        _check_positive(deviation=self.deviation)
        if self.labelled is not None and self.labelled < 1:
            raise InputError(f"{self.labelled} labelled samples are impossible: give 1 or more")
        if self.unlabelled != "none" and self.labelled is None:
            raise InputError(f"unlabelled={self.unlabelled} needs samples without labels: set labelled")


@dataclass(frozen=True)
class SynthesisConfig:
    """Image synthesis (Fig. 4.2a and b): x is the image, factors are the 3D pose and a tag image, or the pose alone.

    The model's ``content`` decides. ``beta`` of the disentangling step is 100; that of the embedding step is not given.
    """

    disentangling: BoundConfig = field(default_factory=lambda: BoundConfig(beta=100.0))
    embedding: BoundConfig = field(default_factory=lambda: BoundConfig(beta=1.0))
    # T2 of Algorithm 4.2: steps on encoder and decoder of poses, with z_u of other images, after each other step.
    inner_steps: int = 1
    # Standard deviations of the likelihoods, not given. They are the unit of beta: divergence costs beta a nat, and a
    # pixel that is off by 0.03 costs half a nat. With lambda 0.01 and beta 100, poses are worth no dimension of the
    # latent space unless their deviation is a few thousandths.
    image_deviation: float = 0.03
    pose_deviation: float = 0.005  # reference bones: 0.4 mm

    def __post_init__(self):
        """Raises ``InputError`` for numbers out of range."""
        _check_positive(image_deviation=self.image_deviation, pose_deviation=self.pose_deviation)
        if self.inner_steps < 1:
            raise InputError(f"inner_steps={self.inner_steps} is impossible: give 1 or more")


def _check_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if not value > 0:
            raise InputError(f"{name}={value:g} is impossible: give a number above 0")


@dataclass(frozen=True)
class DisentangledVAEConfig(MethodConfig):
    """One of the two models. The preset's network has to be of the same kind."""

    task: EstimationConfig | SynthesisConfig = field(default_factory=EstimationConfig)

    def source_recipe(self) -> tuple[object, ...]:
        """All settings: both steps train on the source."""
        return (self.task,)

    def with_source_steps(self, steps: int) -> Self:
        """The config with so many steps of disentangling, and half as many of embedding."""

        def of(bound: BoundConfig, count: int) -> BoundConfig:
            return replace(bound, schedule=replace(bound.schedule, steps=count))

        task = replace(
            self.task,
            disentangling=of(self.task.disentangling, steps),
            embedding=of(self.task.embedding, max(1, steps // 2)),
        )
        return replace(self, task=task)
