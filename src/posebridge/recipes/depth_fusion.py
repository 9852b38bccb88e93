"""Multi-view fusion on SynthShift's depth hands: from clean rendered depth to a sensor with holes and noise."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from posebridge.bodies.parametric_hand import AnnyHand
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.source_labels import SourceLabels
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.source_labels import select_labels
from posebridge.fitting.hand_fitting import HandFittingConfig
from posebridge.methods.multi_view_fusion.config import FineTuningConfig, MultiViewFusionConfig
from posebridge.methods.multi_view_fusion.depth_views import DepthContext
from posebridge.methods.multi_view_fusion.fine_tuning import FineTuning
from posebridge.methods.multi_view_fusion.method import MultiViewFusion
from posebridge.methods.multi_view_fusion.supervised_stages import (
    DepthTrainingConfig,
    DepthWeights,
    FusionTraining,
    SingleViewTraining,
)
from posebridge.methods.multi_view_fusion.translation import TranslationConfig
from posebridge.networks.depth_hand import DepthHandConfig
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.translation import TranslatorConfig
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.recipes.depth_fusion_measure import HandErrors, measure
from posebridge.recipes.pipeline import rendering_progress
from posebridge.recipes.render import RenderConfig, open_samples
from posebridge.recipes.track import TEST_SEED
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.depth_scene import DEPTH_STUDIO, with_meshes
from posebridge.training.optimisers import Schedule
from posebridge.training.options import Hardware
from posebridge.training.run import Run

_MESHES: SourceLabels = frozenset({"joints", "vertices"})

# bare: nothing but the hand is in the cube; varied: for choosing anything that the target mustn't choose.
DepthTarget = Literal["street", "bare", "varied"]
# Which of a target's frames are adapted to, without their labels (Table 3): others than are scored, these, or all.
UnlabelledFrames = Literal["train", "test", "both"]


@dataclass(frozen=True)
class DepthFusionSize:
    """How many hands, of three views each, how large a network, and how long it trains.

    ``method`` is for calibrated views, ``one_camera`` the fine-tuning where there are none. ``translation`` gives
    renders the target's look, for runs that want it.
    """

    name: str
    size_px: int
    source_sets: int
    target_sets: int
    test_sets: int
    network: DepthHandConfig
    method: MultiViewFusionConfig
    one_camera: FineTuningConfig
    fusion: ViewFusionConfig = field(default_factory=ViewFusionConfig)
    translation: TranslationConfig = field(default_factory=TranslationConfig)
    views: int = 3

    def translating(self) -> "DepthFusionSize":
        """The size with the translation of its source."""
        return replace(self, method=replace(self.method, translation=self.translation))

    def from_one_camera(self) -> "DepthFusionSize":
        """The size with copies of a picture for its views. They don't tell a hand from one that is turned round as
        calibrated views do, so nothing is fitted before it teaches.
        """
        return replace(self, method=replace(self.method, fine_tuning=self.one_camera))

    def stacked(self, stacks: int) -> "DepthFusionSize":
        """The size with so many networks of single views, each of which sees what the one before has found."""
        return replace(self, network=replace(self.network, stacks=stacks))

    @property
    def cube_m(self) -> float:
        """Side of the cubes that renders come in, whatever their look."""
        return DEPTH_STUDIO.cube_m


_SMALL_SCHEDULE = Schedule(
    steps=1_500, learning_rate=2e-3, decay="cosine", warmup=0.03, weight_decay=1e-4, clip_norm=5.0
)
_FITTED = HandFittingConfig(steps=10)
_SMALL_TRAINING = DepthTrainingConfig(_SMALL_SCHEDULE, sets=20, weights=DepthWeights(maps=30.0))

SMALL = DepthFusionSize(
    name="small",
    size_px=64,
    source_sets=3_200,
    target_sets=1_280,
    test_sets=384,
    network=DepthHandConfig(decoder_channels=64, parameter_head_width=256),
    method=MultiViewFusionConfig(
        single=_SMALL_TRAINING,
        fusion=replace(_SMALL_TRAINING, schedule=replace(_SMALL_SCHEDULE, steps=750)),
        fine_tuning=FineTuningConfig(schedule=replace(_SMALL_SCHEDULE, steps=800), sets=10, teacher=_FITTED),
    ),
    one_camera=FineTuningConfig(schedule=replace(_SMALL_SCHEDULE, steps=1_200), sets=10, single_view=True),
    translation=TranslationConfig(
        schedule=Schedule(steps=1_500, learning_rate=4e-4, decay="cosine", warmup=0.03, momentum=0.5),
        networks=TranslatorConfig(channels=16, blocks=4, discriminator_channels=32, discriminator_halvings=2),
        pictures=8,
    ),
)

FULL = DepthFusionSize(
    name="full",
    size_px=128,
    source_sets=20_000,
    target_sets=6_000,
    test_sets=3_200,
    network=DepthHandConfig(parameter_head_width=512),
    method=MultiViewFusionConfig(fine_tuning=FineTuningConfig(teacher=_FITTED)),
    one_camera=FineTuningConfig(single_view=True),
)

SIZES: Mapping[str, DepthFusionSize] = {size.name: size for size in (SMALL, FULL)}


@dataclass(frozen=True)
class DepthFusionConfig:
    """One seed."""

    size: Literal["small", "full"] = "small"
    seed: int = 0
    target: DepthTarget = "street"
    pretrained: Path | None = None  # folder where stages 1 and 2 lie or go, to be shared; None: in the run's
    frames: UnlabelledFrames = "train"


@dataclass(frozen=True)
class DepthFusionData:
    """Rendered sets. Labels of the target are here for measuring; the method gets streams without them."""

    source: InMemoryDataset[LabelledBatch]
    target_labelled: InMemoryDataset[LabelledBatch]
    test_source: InMemoryDataset[LabelledBatch]
    test_target: InMemoryDataset[LabelledBatch]

    def target(self, frames: UnlabelledFrames = "train") -> InMemoryDataset[UnlabelledBatch]:
        """What is adapted to, without its labels."""
        train = self.target_labelled.map(lambda batch: batch.unlabelled())
        test = self.test_target.map(_apart)
        match frames:
            case "train":
                return train
            case "test":
                return test
            case "both":
                return InMemoryDataset([train.all(), test.all()])


def _apart(test: LabelledBatch) -> UnlabelledBatch:
    """Without labels, and its sets numbered apart from those of the target's other frames."""
    assert test.sequence is not None
    return replace(test.unlabelled(), sequence=tuple(f"test-{name}" for name in test.sequence))


def render_data(size: DepthFusionSize, config: DepthFusionConfig) -> DepthFusionData:
    """Both domains; what is scored is the same for all seeds."""
    counts = (size.source_sets, size.target_sets, size.test_sets, size.test_sets)
    domains = ("studio", config.target, "studio", config.target)
    seeds = (2 * config.seed, 2 * config.seed + 1, TEST_SEED, TEST_SEED + 1)
    with rendering_progress(sum(counts) * size.views) as on_progress:
        parts = zip(counts, domains, seeds, strict=True)
        return DepthFusionData(*(load_hands(size, name, count, seed, on_progress) for count, name, seed in parts))


def load_hands(
    size: DepthFusionSize,
    domain: str,
    sets: int,
    seed: int,
    on_progress: Callable[[int], None],
    mano: Path | None = None,
) -> InMemoryDataset[LabelledBatch]:
    """Rendered sets with meshes, in memory; ``on_progress`` is called with the number of views of each chunk."""
    count = sets * size.views
    config = RenderConfig(domain, count, "hand-depth", size.size_px, seed, mano=mano)

    def samples() -> Iterator[LabelledBatch]:
        for chunk in open_samples(config).chunks(count):
            on_progress(len(chunk))
            yield replace(select_labels(with_meshes(chunk, mano), _MESHES), visible=None)

    return InMemoryDataset(samples())


def context_of(
    size: DepthFusionSize, data: DepthFusionData, config: DepthFusionConfig, hand: AnnyHand, workers: int
) -> DepthContext:
    """The streams of one seed."""

    def new_model() -> DepthHandModel:
        torch.manual_seed(config.seed)
        return DepthHandModel(size.network, size.fusion, HAND21)

    return DepthContext(
        new_model=new_model,
        hand=hand,
        cube_m=size.cube_m,
        source=data.source,
        target=data.target(config.frames),
        seed=config.seed,
        workers=workers,
    )


def run_depth_fusion(
    config: DepthFusionConfig,
    folder: Path,
    hardware: Hardware,
    change: Callable[[DepthFusionSize], DepthFusionSize] = lambda size: size,
    data: DepthFusionData | None = None,
) -> dict[str, HandErrors]:
    """Train all stages; errors on held-out views after pretraining, on both domains, and after fine-tuning.

    ``change`` makes another recipe of the size's fine-tuning, for ablations.
    """
    usual = SIZES[config.size]
    size = change(usual)
    run = Run.create(folder, "depth-fusion", config, hardware, size)
    before = run
    if config.pretrained is not None and _pretrained_by(size) == _pretrained_by(usual):
        before = _pretraining(config, config.pretrained, hardware)
    data = data or render_data(size, config)
    hand = AnnyHand(size.network.shape_size)
    context = context_of(size, data, config, hand, hardware.workers)
    measured: dict[str, HandErrors] = {}
    for number, stage in enumerate(MultiViewFusion(size.method).stages(context), 1):
        if not isinstance(stage, FineTuning):
            before.train(number, stage)
            continue
        measured["pretrained, studio"] = measure(stage.result(), hand, data.test_source, context.cube_m, size.views)
        measured["pretrained"] = measure(stage.result(), hand, data.test_target, context.cube_m, size.views)
        run.train(number, stage)
        measured["fine-tuned"] = measure(stage.result(), hand, data.test_target, context.cube_m, size.views)
    return measured


def compare_fusions(
    config: DepthFusionConfig,
    folder: Path,
    hardware: Hardware,
    fusions: Mapping[str, ViewFusionConfig],
    data: DepthFusionData,
) -> dict[str, HandErrors]:
    """Other networks that fuse what one network of single views has seen; errors on both domains, without fine-tuning.

    Raises ``ValueError`` where ``config`` doesn't say where the network of single views lies or goes.
    """
    if config.pretrained is None:
        raise ValueError("fusions are compared on one network of single views: give the folder `pretrained`")
    size = SIZES[config.size]
    before = _pretraining(config, config.pretrained, hardware)
    hand = AnnyHand(size.network.shape_size)
    context = context_of(size, data, config, hand, hardware.workers)
    single = SingleViewTraining(size.method.single, context, context.new_model())
    before.train(1, single)
    measured: dict[str, HandErrors] = {}
    for name, fusion in fusions.items():
        other = replace(size, fusion=fusion)
        model = context_of(other, data, config, hand, hardware.workers).new_model()
        model.single = single.result().single
        stage = FusionTraining(size.method.fusion, context, model)
        run = before if other == size else Run.create(folder / name, "depth-fusion", config, hardware, other)
        run.train(2, stage)
        for domain, dataset in (("studio", data.test_source), (config.target, data.test_target)):
            measured[f"{name}, {domain}"] = measure(stage.result(), hand, dataset, context.cube_m, size.views)
    return measured


def _pretraining(config: DepthFusionConfig, folder: Path, hardware: Hardware) -> Run:
    """The run that holds stages 1 and 2, which no target has a part in."""
    *recipe, _ = _pretrained_by(SIZES[config.size])
    return Run.create(folder, "depth-fusion", DepthFusionConfig(config.size, config.seed), hardware, tuple(recipe))


def _pretrained_by(size: DepthFusionSize) -> tuple[object, ...]:
    """All that stages 1 and 2 depend on; with a translation the target has a part in them."""
    return (size.network, size.fusion, size.method.single, size.method.fusion, size.method.translation)
