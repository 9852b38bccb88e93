"""SynthShift's track hand-rgb, and what the demo and the benchmark share: sizes, data, configs.

Source: labelled ``studio`` renders. Target: unlabelled ``street`` renders. Scores: held-out labelled renders.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.augment import GeometryConfig
from posebridge.data.loaders import Held
from posebridge.methods.mean_teacher import MeanTeacherConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.recipes.pipeline import hold_renders
from posebridge.rendering.photometry import AppearanceConfig
from posebridge.representations.pose_maps import PoseMaps
from posebridge.synthesis.hand_domains import STREET, STUDIO, HandDomain
from posebridge.synthesis.stream import Samples
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import SourceTrainingConfig
from posebridge.training.style import FourierStyle

_HELD_OUT = 1_000_003  # streams with seeds from here on are for scoring


@dataclass(frozen=True)
class HandRgbSize:
    """One size of the track."""

    name: str
    size_px: int
    source_samples: int
    target_samples: int
    test_samples: int
    network: PoseResNetConfig
    maps: PoseMaps
    source: SourceTrainingConfig
    supervised_target: SourceTrainingConfig
    mean_teacher: MeanTeacherConfig


_SMALL_GEOMETRY = GeometryConfig(rotation_deg=25.0, shear_deg=5.0, translation=0.04, scale=(0.85, 1.2))
_SMALL_APPEARANCE = AppearanceConfig()
_SMALL_SOURCE = SourceTrainingConfig(
    schedule=Schedule(steps=1_500, learning_rate=2e-3, decay="cosine", warmup=0.05, weight_decay=1e-4, clip_norm=5.0),
    batch_size=64,
    geometry=_SMALL_GEOMETRY,
    appearance=_SMALL_APPEARANCE,
    depth_weight=0.5,
)

SMALL = HandRgbSize(
    name="small",
    size_px=64,
    source_samples=8_000,
    target_samples=3_000,
    test_samples=1_000,
    network=PoseResNetConfig(encoder="resnet18", encoder_stride=16, decoder_channels=64, skips=True),
    maps=PoseMaps("softmax", sigma=1.5),
    source=_SMALL_SOURCE,
    supervised_target=replace(_SMALL_SOURCE, schedule=replace(_SMALL_SOURCE.schedule, steps=450, learning_rate=1e-3)),
    mean_teacher=MeanTeacherConfig(
        style=FourierStyle(),
        schedule=Schedule(steps=300, learning_rate=5e-4, decay="cosine", warmup=0.03, weight_decay=1e-4, clip_norm=5.0),
        batch_size=48,
        geometry=_SMALL_GEOMETRY,
        appearance=_SMALL_APPEARANCE,
        average_decay=0.98,
        kept_share=0.4,
        heat_weight=1.0,
        depth_weight=0.5,
    ),
)

FULL = HandRgbSize(
    name="full",
    size_px=256,
    source_samples=40_000,
    target_samples=15_000,
    test_samples=3_200,
    network=PoseResNetConfig(encoder="resnet101"),
    maps=PoseMaps("peak", sigma=2.0),
    source=SourceTrainingConfig(),
    supervised_target=SourceTrainingConfig(schedule=Schedule(steps=10_000)),
    mean_teacher=MeanTeacherConfig(),
)

SIZES = {size.name: size for size in (SMALL, FULL)}


@dataclass(frozen=True)
class HandRgbData:
    """The rendered sets of one seed. Labels of the target are here for measuring; methods get the streams."""

    source: Held[LabelledBatch]
    target: Held[UnlabelledBatch]
    target_labelled: Held[LabelledBatch]
    test_source: LabelledBatch
    test_target: LabelledBatch


def render_data(size: HandRgbSize, seed: int, told: Callable[[int], None] = lambda count: None) -> HandRgbData:
    """Render the sets of one seed; ``told`` hears how many samples were rendered, for progress."""

    def held(domain: HandDomain, count: int, stream_seed: int) -> Held[LabelledBatch]:
        return hold_renders(Samples(domain, size.size_px, stream_seed), count, told)

    target = held(STREET, size.target_samples, 2 * seed + 1)
    return HandRgbData(
        source=held(STUDIO, size.source_samples, 2 * seed),
        target=target.map(lambda batch: batch.unlabelled()),
        target_labelled=target,
        test_source=held(STUDIO, size.test_samples, _HELD_OUT).all(),
        test_target=held(STREET, size.test_samples, _HELD_OUT + 1).all(),
    )
