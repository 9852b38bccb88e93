"""The dual-modality network: the paper's values, and values for two CPU cores. It is made for hands."""

from collections.abc import Mapping
from dataclasses import replace

from posebridge.data.augment import GeometryConfig
from posebridge.data.perturbations import PerturbationConfig
from posebridge.methods.dual_modality.config import DualModalityConfig
from posebridge.methods.dual_modality.fine_tuning import FineTuningConfig
from posebridge.methods.dual_modality.pretraining import PretrainingConfig
from posebridge.methods.dual_modality.settings import FULL, SETTINGS
from posebridge.methods.dual_modality.supervision import ModalityWeights
from posebridge.methods.dual_modality.views import ViewConfig
from posebridge.presets.preset import Preset, presets_of_rows
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.optimisers import Schedule

METHOD = "dual-modality"
# Predictions of the shipped model hand-rgb in 128 renders of varied: 41% are below 1.5, 58% below 3. A network of fewer
# steps is less consistent.
_SMALL_VARIANCE = 3.0


def small_dual_modality(skeleton: Skeleton, views: GeometryConfig) -> Mapping[str, DualModalityConfig]:
    """For two CPU cores; empty for people.

    Heat maps are trained by cross-entropy, too. The views are those of the preset: few steps don't suffice for hands in
    all directions, so quarter turns are left out as well.
    """
    if skeleton.name != HAND21.name:
        return {}
    weights, view = ModalityWeights(heat=10.0), ViewConfig(geometry=views)
    return {
        METHOD: DualModalityConfig(
            pretraining=PretrainingConfig(
                schedule=_short(900, learning_rate=2e-3, warmup=0.05), batch_size=32, weights=weights, views=view
            ),
            fine_tuning=FineTuningConfig(
                schedule=_short(400, learning_rate=5e-4, warmup=0.03),
                batch_size=16,
                max_variance=_SMALL_VARIANCE,
                weights=weights,
                views=view,
                weak_views=PerturbationConfig(translation=8 / 256, quarter_turns=False),
            ),
        )
    }


def full_dual_modality(skeleton: Skeleton) -> Mapping[str, DualModalityConfig]:
    """For a GPU: the paper's values; empty for people.

    ``full_pose`` is read by the peaks of its heat maps, whose heights a loss on their means leaves open. So heat maps
    have a term, unlike the paper's.
    """
    if skeleton.name != HAND21.name:
        return {}
    config, weights = DualModalityConfig(), ModalityWeights(heat=1.0)
    assert config.fine_tuning is not None
    return {
        METHOD: replace(
            config,
            pretraining=replace(config.pretraining, weights=weights),
            fine_tuning=replace(config.fine_tuning, weights=weights),
        )
    }


def _short(steps: int, learning_rate: float, warmup: float) -> Schedule:
    return Schedule(
        steps=steps,
        learning_rate=learning_rate,
        decay="cosine",
        warmup=warmup,
        weight_decay=1e-4,
        clip_norm=5.0,
        second_momentum=0.99,
    )


def presets_of_settings(preset: Preset) -> tuple[Preset, ...]:
    """The presets of Table 7.2's other rows (``settings.py``), each of this method alone; none without the method."""
    return presets_of_rows(preset, METHOD, SETTINGS, FULL)
