"""The configs of runs: frozen dataclasses, stored in ``config.yaml``, that commands and Python fill by keyword."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from posebridge.data.datasets.options import DatasetOptions
from posebridge.data.depth_target import DepthTargetConfig
from posebridge.data.target import TargetConfig
from posebridge.synthesis.domains import Track

TargetFrames = Literal["stills", "videos"]  # single images, or frames of videos
Split = Literal["train", "test", "both"]


@dataclass(frozen=True)
class SynthShiftConfig:
    """One cell of SynthShift's table."""

    track: Track = "hand-rgb"
    method: str = "mean-teacher"
    preset: str = "small"
    seed: int = 0
    target_frames: TargetFrames = "stills"  # videos: for methods that take pairs, and for others beside them
    target_domain: str = "street"  # varied: for development, since nothing may be tuned on street
    target_split: Split = "train"  # the target's frames to adapt to, without labels; the test split is scored
    annotation_gap: float = 0.0  # interpolation factor of joints that are moved in the source; see annotation_gap.py
    shared: Path | None = None  # folder of source model and upper bound, for several runs; None: in the run's
    sets: Path | None = None  # folder of rendered sets; None: they are rendered anew, in memory


@dataclass(frozen=True)
class AdaptConfig:
    """A run on a user's own images or video."""

    method: str
    target: TargetConfig
    source: Path | None = None  # a trained model to start from; None: one is trained on renders
    domain: str = "varied"  # of the renders
    preset: str = "small"
    truth: Path | None = None  # labels of the target, for measuring only
    seed: int = 0
    subject: Literal["hand", "body"] = "hand"
    stride: tuple[int, int] = (5, 15)  # smallest and largest distance of the frames of a pair
    encoder_weights: str | None = None  # "timm", a file or "none"; None: as the preset has it
    feature_weights: str | None = None  # of the VGG behind style and perceptual losses, likewise


@dataclass(frozen=True)
class AdaptDepthConfig:
    """A run on a user's own depth frames."""

    target: DepthTargetConfig
    method: str = "multi-view-fusion"
    source: Path | None = None  # a depth hand model to start from
    domain: str = "varied"
    preset: str = "small"
    truth: Path | None = None  # for measuring only
    seed: int = 0
    mano: Path | None = None  # MANO's file, whose hand is rendered and predicted; None: Anny's
    translate: bool = False  # train a translation of renders to the target's style first
    stacks: Literal[1, 2] = 1  # single-view networks, the second of which refines the first


@dataclass(frozen=True)
class DatasetRef:
    """A public dataset on disk."""

    name: str  # in data.datasets.registry
    path: Path
    options: DatasetOptions = field(default_factory=DatasetOptions)


@dataclass(frozen=True)
class TrainConfig:
    """A run from one public dataset, or from renders, to another dataset."""

    target: DatasetRef
    source: DatasetRef | None = None  # None: renders of ``domain``
    method: str = "geometric-reconstruction"
    preset: str = "small"
    seed: int = 0
    recipe: str | None = None  # the named transfer that the values come from
    domain: str = "varied"
    hand: Literal["left", "right"] | None = None  # that the target shows, where the release doesn't state it
    target_split: Split = "train"  # the target's frames to adapt to, without labels; the test split is scored
    encoder_weights: str | None = None
    feature_weights: str | None = None
    mano: Path | None = None
    translate: bool = False
    stacks: Literal[1, 2] = 1


@dataclass(frozen=True)
class DemoConfig:
    """What ``posebridge demo`` runs."""

    seed: int = 0
