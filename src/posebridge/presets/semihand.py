"""SemiHand: the dissertation's values, and values for two CPU cores. Hands alone."""

from dataclasses import replace

from posebridge.methods.base import MethodConfig
from posebridge.methods.semihand.adaptation import AdaptationConfig
from posebridge.methods.semihand.circle_training import CircleTrainingConfig
from posebridge.methods.semihand.config import SemiHandConfig
from posebridge.methods.semihand.pretraining import PretrainingConfig
from posebridge.methods.semihand.settings import FULL, SETTINGS
from posebridge.methods.semihand.views import DiversityConfig, TermWeights
from posebridge.presets.preset import Preset
from posebridge.rendering.photometry import STRONG
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.optimisers import Schedule

METHOD = "semihand"


def small_semihand() -> SemiHandConfig:
    """For two CPU cores: the preset's ResNet-18, which starts from the source model.

    The pretraining has to teach masks and views of all directions alone. Rates are those of the mean teacher.
    """
    weights = TermWeights(heat=20.0)
    diversity = replace(DiversityConfig(), appearance=STRONG)
    return SemiHandConfig(
        model=None,
        pretraining=PretrainingConfig(
            schedule=Schedule(
                steps=800, learning_rate=1e-3, decay="cosine", warmup=0.05, weight_decay=1e-4, clip_norm=100.0
            ),
            batch_size=64,
            weights=weights,
            diversity=diversity,
            composited_frac=0.5,
        ),
        circles=CircleTrainingConfig(),
        adaptation=AdaptationConfig(
            schedule=Schedule(
                steps=600, learning_rate=3e-4, decay="steps", drops=(0.4,), weight_decay=1e-4, clip_norm=100.0
            ),
            batch_size=16,
            weights=weights,
            diversity=diversity,
            composited_frac=0.5,
        ),
    )


def small_of_hands(skeleton: Skeleton) -> dict[str, MethodConfig]:
    """The method with values for two CPU cores, by its name; empty for people."""
    return {METHOD: small_semihand()} if skeleton.name == HAND21.name else {}


def full_of_hands(skeleton: Skeleton) -> dict[str, MethodConfig]:
    """The method with the dissertation's values, by its name; empty for people."""
    return {METHOD: SemiHandConfig()} if skeleton.name == HAND21.name else {}


def presets_of_settings(preset: Preset) -> tuple[Preset, ...]:
    """The presets of the other rows (``settings.py``), each of this method alone; none without the method."""
    full = preset.methods.get(METHOD)
    if not isinstance(full, SemiHandConfig):
        return ()
    return tuple(
        replace(preset.keeping(METHOD).with_config(METHOD, change(full)), name=f"{preset.name}-{METHOD}-{name}")
        for name, change in SETTINGS.items()
        if name != FULL
    )
