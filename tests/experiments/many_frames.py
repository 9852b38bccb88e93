"""Peaks of memory, in MB, by which building and measuring runs of many frames exceed their sets; a line for each run.

Rendering is replaced by a few samples, and networks by one that predicts the middle of each crop.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.target import TargetConfig
from posebridge.evaluation.target_labels import labels_for
from posebridge.experiments import adapt
from posebridge.experiments.configs import AdaptConfig, SynthShiftConfig
from posebridge.experiments.data import ExperimentData
from posebridge.experiments.evaluation_sets import truth_of
from posebridge.experiments.synthshift import synthshift_data
from posebridge.experiments.synthshift_sets import SynthShiftSets
from posebridge.experiments.target import LoadedTarget
from posebridge.experiments.tracks import track_of
from posebridge.methods.registry import find_method
from posebridge.presets.table import find_preset
from posebridge.skeletons.hand import HAND21
from posebridge.training.frames import InMemoryFrames

COUNT, SIDE = 12_000, 64  # 147 MB as they are kept, 590 MB as floats


class Middle:
    joint_names = HAND21.joints

    def predict_batch(self, batch):
        uv_px = np.full((len(batch), 21, 2), SIDE / 2)
        return KeypointSet(np.array(batch.key), HAND21.joints, uv_px=uv_px, confidence=np.ones((len(batch), 21)))


def samples(count: int) -> Iterator[LabelledBatch]:
    for i in range(count):
        labels = {"valid": torch.ones(1, 21, dtype=torch.bool), "joints_m": torch.rand(1, 21, 3)}
        image = torch.full((1, 3, SIDE, SIDE), i % 256 / 255)
        yield LabelledBatch(image, (str(i),), T_crop_file=torch.eye(3)[None], uv_px=torch.rand(1, 21, 2), **labels)


def peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measured(data: ExperimentData) -> None:
    found = data.evaluation.predict({"adapted": Middle()})["adapted"]
    assert len(found.keypoints) == COUNT
    assert data.evaluation.score(found) is not None
    assert len(data.evaluation.gallery(found.keypoints)) == 12
    assert len(data.evaluation.frames) == len(data.pair_labels(None)) == COUNT


few, many = InMemoryDataset(samples(8)), InMemoryDataset(samples(COUNT))
start_mb = peak_mb()

sets = SynthShiftSets(few, None, many, few, few, many)
measured(
    synthshift_data(SynthShiftConfig("hand-rgb"), find_preset("synthshift/hand-rgb", "small", "mean-teacher"), sets)
)
print(peak_mb() - start_mb)

adapt.render_source = lambda *_, **__: InMemoryFrames(few, 0)
target, truth = many.map(lambda batch: batch.unlabelled()), truth_of(many.without_images(), HAND21.joints)
method, track = find_method("mean-teacher"), track_of("hand")
start = adapt._Start(
    method,
    track,
    find_preset("adapt/hand", "small", "mean-teacher"),
    None,
    LoadedTarget(target, {}),
    None,
    truth,
    target.map(lambda batch: labels_for(batch, truth, HAND21)),
)
measured(adapt._data(AdaptConfig(method="mean-teacher", target=TargetConfig("photos"), domain="studio"), start))
print(peak_mb() - start_mb)
