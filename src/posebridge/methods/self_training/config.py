"""Config of self-training, and of CC-SSL (Mu et al., CVPR 2020), which differs in its numbers."""

from dataclasses import dataclass, field

from posebridge.data.augment import GeometryConfig
from posebridge.errors import InputError
from posebridge.methods.base import MethodConfig
from posebridge.rendering.photometry import AppearanceConfig
from posebridge.training.optimisers import Schedule


@dataclass(frozen=True)
class SelfTrainingConfig(MethodConfig):
    """Defaults are those of plain self-training: one prediction of each frame, and the same fraction in all rounds."""

    schedule: Schedule = field(default_factory=lambda: Schedule(steps=15_000, learning_rate=1e-4))
    batch_size: int = 32
    geometry: GeometryConfig = field(default_factory=GeometryConfig)  # of the student's views, and the labels' further
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)  # of the student's views
    rounds: int = 6  # how often frames are labelled anew
    label_views: int = 1  # predictions whose mean is a label: of the frame itself, and of random views
    agreement_frac: float = 0.03  # deviation of views, in image sides, at which confidence falls to exp(-1/2)
    kept_frac: tuple[float, float] = (0.5, 0.5)  # of a batch's joints in the first and last rounds
    rise_frac: float = 0.5  # fraction of the stage over which the kept fraction changes from first to last
    heat_weight: float = 1.0
    depth_weight: float = 0.1
    pseudo_heat_weight: float = 1.0
    pseudo_depth_weight: float = 0.1

    def __post_init__(self):
        if not all(0 < frac <= 1 for frac in self.kept_frac):
            raise InputError(f"kept_frac={self.kept_frac}: give two fractions above 0 and at most 1")
        if self.label_views < 1 or not 1 <= self.rounds <= max(1, self.schedule.steps):
            raise InputError(
                f"label_views={self.label_views}, rounds={self.rounds} of {self.schedule.steps} steps: "
                "give label_views >= 1 and 1 <= rounds <= steps"
            )

    def kept_at(self, progress: float) -> float:
        """The kept fraction when the fraction ``progress`` of the stage is done."""
        first, last = self.kept_frac
        risen = 1.0 if self.rise_frac == 0 else min(1.0, progress / self.rise_frac)
        return first + (last - first) * risen


def cc_ssl(**changes) -> SelfTrainingConfig:
    """The values of CC-SSL's public code: five predictions of a frame, and joints kept from 0.2 to 0.8.

    Its loss on the target has the weight 10.
    """
    values = {"label_views": 5, "kept_frac": (0.2, 0.8), "pseudo_heat_weight": 10.0, "pseudo_depth_weight": 1.0}
    return SelfTrainingConfig(**{**values, **changes})
