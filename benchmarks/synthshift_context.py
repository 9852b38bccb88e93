"""The context of a method on rendered sets of SynthShift, for measurements outside of a run."""

import torch

from posebridge.experiments.preset import Preset
from posebridge.experiments.synthshift_sets import SynthShiftSets
from posebridge.experiments.tracks import TrackSpec
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames


def context_of(track: TrackSpec, preset: Preset, sets: SynthShiftSets, seed: int) -> Context:
    """Streams of source and target as a run of this seed has them, and new pose networks of the preset."""
    config = preset.network
    assert isinstance(config, PoseResNetConfig)

    def new_network() -> PoseResNet:
        torch.manual_seed(seed)
        return PoseResNet(config, preset.maps)

    target = sets.unlabelled_target("train")
    return Context(
        new_network=new_network,
        skeleton=track.skeleton,
        source=InMemoryFrames(sets.source, seed, sets.source_videos),
        target=InMemoryFrames(target, seed + 1, target),
        selection=None,
        seed=seed,
    )
