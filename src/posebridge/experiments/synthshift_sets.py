"""The rendered sets of one seed of SynthShift."""

from dataclasses import dataclass, replace
from itertools import chain

from posebridge.contracts.batch import LabelledBatch
from posebridge.data.annotation_gap import with_gap
from posebridge.data.in_memory import InMemoryDataset
from posebridge.experiments.configs import SynthShiftConfig, TargetSplit
from posebridge.experiments.renders import RenderLoader, rendering_progress
from posebridge.experiments.tracks import TRACKS, TrackSpec
from posebridge.methods.registry import MethodEntry
from posebridge.presets.preset import Preset

TEST_SEED = 1_000_003  # of the first scored set; training sets have lower seeds


@dataclass(frozen=True)
class SynthShiftSets:
    """The rendered sets of one seed. Labels of the target are for measuring; methods get frames without them."""

    source: InMemoryDataset[LabelledBatch]
    source_videos: InMemoryDataset[LabelledBatch] | None
    target: InMemoryDataset[LabelledBatch]
    upper_bound: InMemoryDataset[LabelledBatch]  # single images, also where the target is videos
    test_source: InMemoryDataset[LabelledBatch]
    test_target: InMemoryDataset[LabelledBatch]

    def adapted_to(self, split: TargetSplit) -> InMemoryDataset[LabelledBatch]:
        """The target's frames to adapt to, with the labels by which they are measured."""
        if split == "train":
            return self.target
        test = self.test_target.map(_renamed_test)
        return test if split == "test" else InMemoryDataset(chain(self.target.samples(), test.samples()))


def render_sets(config: SynthShiftConfig, preset: Preset, method: MethodEntry) -> SynthShiftSets:
    """Render all sets of a seed; the test sets are the same for all seeds.

    Raises ``InputError`` for a domain that the track lacks.
    """
    track, sizes = TRACKS[config.track], preset.data
    assert sizes.source is not None
    assert sizes.target is not None
    assert sizes.test is not None
    videos = config.target_frames == "videos"
    images = sizes.source + sizes.target * (3 if videos else 1) + 2 * sizes.test
    with rendering_progress(images) as on_progress:
        loader = RenderLoader(
            track=config.track,
            model=preset.model,
            labels=preset.config_of(method.name).source_labels(frozenset(method.source_labels)),
            sets=config.sets,
            contents=sizes.contents,
            on_progress=on_progress,
        )
        source_seed, target_seed = 2 * config.seed, 2 * config.seed + 1
        target_videos = source_videos = None
        if videos:
            assert track.video_frames is not None
            frames = sizes.target - sizes.target % track.video_frames
            target_videos = loader.load(config.target_domain, frames, target_seed, track.video_frames)
            source_videos = loader.load(track.source, frames, source_seed, track.video_frames)
        stills = loader.load(config.target_domain, sizes.target, target_seed)
        source = loader.load(track.source, sizes.source, source_seed)
        if sizes.contents and source_videos is None:
            source_videos = source  # samples of one content form pairs
        sets = SynthShiftSets(
            source=source,
            source_videos=source_videos,
            target=stills if target_videos is None else target_videos,
            upper_bound=stills,
            test_source=loader.load(track.source, sizes.test, TEST_SEED),
            test_target=loader.load(config.target_domain, sizes.test, TEST_SEED + 1),
        )
    return sets if config.annotation_gap == 0 else _with_gap(sets, track, config.annotation_gap)


def _with_gap(sets: SynthShiftSets, track: TrackSpec, factor: float) -> SynthShiftSets:
    """The sets with a simulated gap: all source labels follow another convention."""

    def moved(batch: LabelledBatch) -> LabelledBatch:
        return with_gap(batch, track.skeleton, factor)

    videos = sets.source_videos
    return replace(sets, source=sets.source.map(moved), source_videos=None if videos is None else videos.map(moved))


def _renamed_test(test: LabelledBatch) -> LabelledBatch:
    """With sequences of other names than those of the training frames."""
    sequence = test.sequence
    return test if sequence is None else replace(test, sequence=tuple(f"test-{name}" for name in sequence))
