"""The public depth benchmarks in a few frames, and their labels straight from the readers."""

from pathlib import Path

import numpy as np

from data.depth_releases import write_msra_sequence, write_nyu
from experiments.transfer_sets import write_icvl
from posebridge.data.datasets.hand_centres import CentreSource
from posebridge.data.datasets.icvl import ICVL
from posebridge.data.datasets.msra import MSRA
from posebridge.data.datasets.nyu import NYU
from posebridge.data.datasets.registry import dataset_named


def write_set(name: str, root: Path) -> Path:
    root.mkdir(exist_ok=True)
    if name == "nyu":
        write_nyu(root, 4, split="train")
        write_nyu(root, 3)
    elif name == "icvl":
        write_icvl(root)
    else:
        for subject in range(3):
            write_msra_sequence(root / f"P{subject}" / "1", 3)
    return root


def truth(name: str, root: Path, centres: CentreSource = "blob") -> dict[str, np.ndarray]:
    """By key, straight from the reader: joints that count, millimetres."""
    dataset = dataset_named(name)
    reader = {"nyu": lambda: NYU(root, centres=centres), "icvl": lambda: ICVL(root)}.get(
        name, lambda: MSRA(root, "test", 0)
    )()
    order = [dataset.joints.index(joint) for joint in dataset.scored_joints]
    return {reader[i].key: 1000 * reader.labels(i).joints_m[order] for i in range(len(reader))}
