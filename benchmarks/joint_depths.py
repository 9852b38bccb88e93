"""How far joints are from the root in depth, in reference bones: the range that volumes of poses need.

python benchmarks/joint_depths.py
"""

from dataclasses import dataclass

import torch
import tyro

from posebridge.contracts.source_labels import JOINTS
from posebridge.experiments.renders import RenderLoader
from posebridge.experiments.tracks import TRACKS
from posebridge.presets.table import find_preset
from posebridge.representations.pose25d import relative_depth

_DOMAINS = ("studio", "varied", "street")
_TRACKS = ("hand-rgb", "body-rgb")


@dataclass(frozen=True)
class Options:
    """Measure renders of every domain."""

    renders: int = 1024
    """Renders of each domain."""

    seed: int = 0
    """Seed of the renders."""


def table(options: Options) -> str:
    """A row for each track and domain, as Markdown."""
    lines = ["| track | domain | 99.9% of joints within | largest |", "|---|---|---|---|"]
    for track in _TRACKS:
        skeleton = TRACKS[track].skeleton
        model = find_preset(TRACKS[track].preset_family(videos=False), "small", "source-only").model
        loader = RenderLoader(track=track, model=model, labels=JOINTS)
        for domain in _DOMAINS:
            labels = loader.load(domain, options.renders, options.seed).without_images()
            assert labels.joints_m is not None
            assert labels.valid is not None
            depths = relative_depth(labels.joints_m, skeleton)[labels.valid].abs()
            lines.append(f"| {track} | {domain} | {torch.quantile(depths, 0.999):.2f} | {depths.max():.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(tyro.cli(Options)))
