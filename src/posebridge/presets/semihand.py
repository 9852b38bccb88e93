"""SemiHand: the dissertation's values, and values for two CPU cores. Hands alone."""

from posebridge.data.augment import GeometryConfig
from posebridge.data.perturbations import PerturbationConfig
from posebridge.methods.base import MethodConfig
from posebridge.methods.semihand.adaptation import AdaptationConfig
from posebridge.methods.semihand.circle_training import CircleTrainingConfig
from posebridge.methods.semihand.config import SemiHandConfig
from posebridge.methods.semihand.pretraining import PretrainingConfig
from posebridge.methods.semihand.settings import FULL, SETTINGS
from posebridge.methods.semihand.views import DiversityConfig, TermWeights
from posebridge.presets.preset import Preset, presets_of_rows
from posebridge.rendering.photometry import STRONG
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.optimisers import Schedule

METHOD = "semihand"
# Half of the frames of varied are below it when the adaptation of SynthShift's small begins. 1.5 accepts 1%.
_SMALL_THRESHOLD = 6.0


def small_semihand(
    views: GeometryConfig, pretraining_steps: int = 500, batch_size: int = 64, steps: int = 600
) -> SemiHandConfig:
    """For two CPU cores: the preset's ResNet-18, which starts from the source model.

    The pretraining, in batches of ``batch_size``, has to teach masks alone. Diverse views are the preset's ``views``:
    few steps don't suffice for hands in all directions, so quarter turns are left out as well. ``steps`` are those of
    the adaptation. Defaults take a quarter of an hour at 64 px, that of the source model included.
    """
    weights = TermWeights(heat=20.0)
    diversity = DiversityConfig(geometry=views, appearance=STRONG)
    return SemiHandConfig(
        model=None,
        pretraining=PretrainingConfig(
            schedule=Schedule(
                steps=pretraining_steps,
                learning_rate=1e-3,
                decay="cosine",
                warmup=0.05,
                weight_decay=1e-4,
                clip_norm=100.0,
            ),
            batch_size=batch_size,
            weights=weights,
            diversity=diversity,
            composited_frac=0.5,
        ),
        circles=CircleTrainingConfig(),
        adaptation=AdaptationConfig(
            schedule=Schedule(
                steps=steps, learning_rate=3e-4, decay="steps", drops=(0.4,), weight_decay=1e-4, clip_norm=100.0
            ),
            batch_size=16,
            weights=weights,
            threshold=_SMALL_THRESHOLD,
            perturbation=PerturbationConfig(quarter_turns=False),
            diversity=diversity,
            composited_frac=0.5,
        ),
    )


def small_of_hands(skeleton: Skeleton, views: GeometryConfig) -> dict[str, MethodConfig]:
    """The method with values for two CPU cores at 64 px, by its name; empty for people."""
    return {METHOD: small_semihand(views)} if skeleton.name == HAND21.name else {}


def large_crops_of_hands(skeleton: Skeleton, views: GeometryConfig) -> dict[str, MethodConfig]:
    """Likewise for crops of 96 or 128 px, whose steps take two to four times as long; from a shipped model."""
    config = small_semihand(views, pretraining_steps=400, batch_size=32, steps=250)
    return {METHOD: config} if skeleton.name == HAND21.name else {}


def full_of_hands(skeleton: Skeleton) -> dict[str, MethodConfig]:
    """The method with the dissertation's values, by its name; empty for people."""
    return {METHOD: SemiHandConfig()} if skeleton.name == HAND21.name else {}


def presets_of_settings(preset: Preset) -> tuple[Preset, ...]:
    """The presets of the other rows (``settings.py``), each of this method alone; none without the method."""
    return presets_of_rows(preset, METHOD, SETTINGS, FULL, f"{METHOD}-")
