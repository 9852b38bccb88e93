"""Multi-view fusion of depth: the same numbers on SynthShift, on a user's depth, and on public datasets."""

from collections.abc import Mapping
from dataclasses import replace

from posebridge.deployment.model_spec import DepthHandSpec
from posebridge.fitting.hand_fitting import HandFittingConfig
from posebridge.methods.multi_view_fusion.config import FineTuningConfig, MultiViewFusionConfig
from posebridge.methods.multi_view_fusion.hand_terms import DepthWeights
from posebridge.methods.multi_view_fusion.supervised_stages import DepthTrainingConfig
from posebridge.methods.multi_view_fusion.translation import TranslationConfig
from posebridge.networks.depth_hand import DepthHandConfig
from posebridge.networks.translation import TranslatorConfig
from posebridge.presets.preset import DataSizes, Preset
from posebridge.synthesis.depth_scene import DEPTH_STUDIO
from posebridge.training.optimisers import Schedule

FAMILIES = ("synthshift/hand-depth", "adapt/hand-depth", "datasets/hand-depth")
_FITTED = HandFittingConfig(steps=10, gestures=())


def _schedule(steps: int) -> Schedule:
    return Schedule(steps=steps, learning_rate=2e-3, decay="cosine", warmup=0.03, weight_decay=1e-4, clip_norm=5.0)


_SMALL = Preset(
    family="",
    name="small",
    model=DepthHandSpec(
        network=DepthHandConfig(decoder_channels=64, parameter_head_width=256), size_px=64, cube_m=DEPTH_STUDIO.cube_m
    ),
    data=DataSizes(source=9_600, source_with_model=3_840, target=3_840, test=1_152, views=3),
    space_mb=500,
    methods={
        "multi-view-fusion": MultiViewFusionConfig(
            translation=TranslationConfig(
                schedule=Schedule(steps=1_500, learning_rate=4e-4, decay="cosine", warmup=0.03, momentum=0.5),
                networks=TranslatorConfig(channels=16, blocks=4, discriminator_channels=32, discriminator_halvings=2),
                batch_size=8,
            ),
            single_view=DepthTrainingConfig(_schedule(1_500), sets=20, weights=DepthWeights(maps=30.0)),
            fusion=DepthTrainingConfig(_schedule(750), sets=20, weights=DepthWeights(maps=30.0)),
            fine_tuning=FineTuningConfig(schedule=_schedule(800), sets=10, teacher_fitting=_FITTED),
            one_camera=FineTuningConfig(schedule=_schedule(1_200), sets=10, pseudo_views=True),
        )
    },
)

_FULL = Preset(
    family="",
    name="full",
    model=DepthHandSpec(network=DepthHandConfig(parameter_head_width=512), size_px=128, cube_m=DEPTH_STUDIO.cube_m),
    data=DataSizes(source=60_000, source_with_model=18_000, target=18_000, test=9_600, views=3),
    space_mb=500,
    methods={"multi-view-fusion": MultiViewFusionConfig(fine_tuning=FineTuningConfig(teacher_fitting=_FITTED))},
)

# Of a public dataset: so many moments of the target, evenly chosen, and so many frames of the test split.
_DATASET_SIZES: Mapping[str, dict[str, int | None]] = {
    "small": {"target": 1_280, "test": 1_000},
    "full": {"target": 24_000, "test": None},
}


_SOURCE = replace(
    _SMALL,
    family="source/hand-depth",
    data=DataSizes(source=30_000, test=1_998, views=3),
    methods={name: config.with_source_steps(6_000) for name, config in _SMALL.methods.items()},
)


def _for_family(preset: Preset, family: str) -> Preset:
    sizes = _DATASET_SIZES[preset.name] if family.startswith("datasets/") else {}
    return replace(preset, family=family, data=replace(preset.data, **sizes))


PRESETS = (*(_for_family(preset, family) for family in FAMILIES for preset in (_SMALL, _FULL)), _SOURCE)
