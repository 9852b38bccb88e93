"""The configs of runs: frozen dataclasses, stored in ``config.yaml``, that commands and Python fill by keyword.

Each field is a flag, and the text below it is the flag's help. The module imports no torch, so that help appears at
once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from posebridge.contracts.track import Track
from posebridge.data.datasets.dataset_ref import REFERENCE, DatasetRef, describe_datasets
from posebridge.data.target_config import DepthTargetConfig, TargetConfig
from posebridge.deployment.shipped_models import ModelRef
from posebridge.errors import InputError
from posebridge.experiments.transfers import TRANSFERS
from posebridge.methods.registry import default_method, describe_methods

TargetFrames = Literal["stills", "videos"]  # single images, or frames of videos
TargetSplit = Literal["train", "test", "both"]
Weights = Literal["timm", "none"] | Path
EncoderWeights = Literal["package"] | Weights
Source = Literal["renders"] | ModelRef  # trained on renders, or a model
AUTO = "auto"  # the method that fits the target
_DEPTH_METHOD = default_method("depth", "views").name


@dataclass(frozen=True)
class SynthShiftConfig:
    """One cell of SynthShift's table."""

    track: Track = "hand-rgb"
    method: str = "mean-teacher"
    preset: str = "small"
    seed: int = 0
    target_frames: TargetFrames = "stills"  # videos: for methods that take pairs, and for others beside them
    target_domain: str = "street"  # varied: for development, since nothing may be tuned on street
    target_split: TargetSplit = "train"  # the target's frames to adapt to, without labels; the test split is scored
    true_masks: bool = False  # an upper bound: methods that predict masks of the target are given the true ones
    annotation_gap: float = 0.0  # interpolation factor of joints that are moved in the source; see annotation_gap.py
    shared: Path | None = None  # folder of source model and upper bound, for several runs; None: in the run's
    sets: Path | None = None  # folder of rendered sets; None: they are rendered anew, in memory


@dataclass(frozen=True)
class AdaptConfig:
    """A run on a user's own images or video."""

    target: Annotated[TargetConfig, arg(name="")]

    method: Annotated[
        str,
        arg(
            help=f"{describe_methods('colour', ('source_only', 'adapted'), adapting=True)}. Without it: "
            f"{default_method('colour', 'pairs').name} for videos, else {default_method('colour', 'images').name}.",
        ),
    ] = AUTO

    source: Source | None = None
    """The model to start from: a shipped one (posebridge models), the folder of a run or of a model, or renders, on
    which one is trained here. Without it: the shipped model of the subject for preset small, else renders."""

    domain: str = "varied"
    """Domain of the renders: varied, studio or street."""

    preset: str = "small"
    """small is for CPUs (images of 96 px), full for a GPU (256 px)."""

    truth: Path | None = None
    """Labels of the target (.npz as for posebridge score), for measuring only: nothing is trained or chosen by them."""

    seed: int = 0
    """Seed of all random numbers."""

    subject: Literal["hand", "body"] = "hand"
    """What each frame shows: one hand, or one person."""

    stride: tuple[int, int] = (5, 15)
    """Smallest and largest distance of the two frames of a pair, by the frames' numbers: with --every 5, the default
    pairs frames that are 5, 10 or 15 apart. For methods that take pairs of frames."""

    encoder_weights: EncoderWeights | None = None
    """Initial weights of the encoder that is trained here, of a source model or of a method's own network: timm
    (downloads them), package (those of an installed package), a file, or none. Without it: none."""

    feature_weights: Weights | None = None
    """Weights of the VGG-19 behind style and perceptual losses in preset full: timm (downloads), a file, or none, which
    takes Fourier style and the pose network's own features. Without it: timm."""

    masks: Path | None = None
    """Folder of foreground masks, an 8-bit grey image for each frame with the frame's name and size: 0 is background.
    For methods that use masks of the target, which predict them otherwise."""

    unconstrained: Path | None = None
    """Folder of images unrelated to the subject, for methods that exchange backgrounds. Without it: painted ones."""


@dataclass(frozen=True)
class AdaptDepthConfig:
    """A run on a user's own depth frames."""

    target: Annotated[DepthTargetConfig, arg(name="")]

    method: Annotated[
        str, arg(help=f"{describe_methods('depth', ('adapted',), 'views')}. Without it: {_DEPTH_METHOD}.")
    ] = AUTO

    source: Source | None = None
    """The depth model to start from: a shipped one (posebridge models), the folder of a run or of a model, or renders,
    on which one is trained here. Without it: the shipped model for preset small, else renders. MANO's hand, --translate
    and --stacks 2 also need renders."""

    domain: str = "varied"
    """Domain of the renders: varied, studio, street or bare."""

    preset: str = "small"
    """small is for CPUs (crops of 64 px), full for a GPU (128 px)."""

    truth: Path | None = None
    """Labels of the target (.npz as for posebridge score), for measuring only: nothing is trained or chosen by them."""

    seed: int = 0
    """Seed of all random numbers."""

    mano: Path | None = None
    """MANO_RIGHT.pkl, or an .npz of its arrays: render and predict MANO's hand instead of Anny's. The model needs the
    file again for predictions, because it stores none of it."""

    translate: bool = False
    """Train a CycleGAN first that gives renders the style of the target."""

    stacks: Literal[1, 2] = 1
    """Number of single-view networks; the second one refines the first one's prediction, and takes longer."""


@dataclass(frozen=True)
class TrainConfig:
    """A run from one public dataset, or from renders, to another dataset."""

    target: Annotated[DatasetRef, REFERENCE, arg(help=f"The dataset to adapt to: {describe_datasets()}.")]

    source: Annotated[DatasetRef | None, REFERENCE] = None
    """The labelled dataset. Without it: renders of --domain."""

    method: Annotated[
        str | None,
        arg(
            help=f"{describe_methods()}. Without it: {default_method('colour', 'pairs').name}; "
            f"of depth {_DEPTH_METHOD}."
        ),
    ] = None

    preset: str = "small"
    """small is for CPUs (images of 64 px, a first look), full for a GPU (256 px, of depth 128 px; the papers'
    values)."""

    seed: int = 0
    """Seed of all random numbers."""

    recipe: Annotated[
        Positional[str | None],
        arg(metavar="RECIPE", help=f"A published transfer, which names its datasets: {', '.join(TRANSFERS)}."),
    ] = None

    domain: str = "varied"
    """Domain of the renders, where no source is given."""

    hand: Literal["left", "right"] | None = None
    """Which hand the target shows, where its release doesn't state it."""

    joints: Literal["mpii16", "h36m17"] | None = None
    """Joints of people: MPII's, as in the published tables, or Human3.6M's. Without it: those that the source labels,
    h36m17 for renders and MPI-INF-3DHP, else mpii16."""

    target_split: TargetSplit = "train"
    """The target's frames to adapt to, without their labels. The test split is scored."""

    encoder_weights: EncoderWeights | None = None
    """Initial weights of the encoder of the network that the method trains: timm (downloads them), package (those of an
    installed package), a file, or none. Without it: timm in preset full, none in preset small."""

    feature_weights: Weights | None = None
    """Weights of the VGG-19 behind style and perceptual losses in preset full: timm (downloads), a file, or none, which
    takes Fourier style and the pose network's own features. Without it: timm."""

    unconstrained: Path | None = None
    """Folder of images unrelated to the subject, for methods that exchange backgrounds. Without it: painted ones."""

    mano: Path | None = None
    """Of depth: MANO_RIGHT.pkl, or an .npz of its arrays: render and predict MANO's hand instead of Anny's."""

    translate: bool = False
    """Of depth: train a CycleGAN first that gives renders the style of the target."""

    stacks: Literal[1, 2] = 1
    """Of depth: number of single-view networks; the second one refines the first one's prediction."""


@dataclass(frozen=True)
class TrainSourceConfig:
    """A run that trains a source model on renders alone."""

    name: Annotated[Positional[Track], arg(metavar="MODEL")]
    """hand-rgb, body-rgb or hand-depth."""

    start: ModelRef | None = None
    """A model of the same network (a shipped one, the folder of a run or of a model) whose weights training starts
    from. Without it: random weights, or those of the preset's encoder."""

    renders: int | None = None
    """Number of renders. Default: the preset's."""

    steps: int | None = None
    """Steps of training; hand-depth takes half as many again for the fusion of views. Default: the preset's."""

    preset: str = "small"
    """small is for CPUs."""

    seed: int = 0
    """Seed of all random numbers, renders included."""

    sets: Path | None = None
    """Folder in which renders are kept as shards and read again. Default: they are rendered in memory."""

    def __post_init__(self):
        """Raises ``InputError`` for numbers out of range."""
        for name, value in (("renders", self.renders), ("steps", self.steps)):
            if value is not None and value < 1:
                raise InputError(f"{value} {name} are impossible: give 1 or more")


@dataclass(frozen=True)
class TrainDetectorConfig:
    """A run that trains a detector of hands and people on composed scenes."""

    start: Path | None = None
    """A detector (the folder of a run or of a model) whose weights training starts from. Without it: random weights."""

    hands: int = 4_000
    """Number of rendered hands, from which scenes are composed."""

    people: int = 2_000
    """Number of rendered people."""

    steps: int = 20_000
    """Steps of training, each on 16 scenes."""

    decay: Literal["cosine", "none"] = "cosine"
    """Learning rate over the run: falling to zero, or constant, to be continued by another run with --start."""

    test_scenes: int = 400
    """Number of scenes that are scored."""

    seed: int = 0
    """Seed of all random numbers, renders included."""

    sets: Path | None = None
    """Folder in which rendered hands and people are kept for other runs. Default: in the run's folder."""

    def __post_init__(self):
        """Raises ``InputError`` for numbers out of range."""
        for name in ("hands", "people", "steps", "test_scenes"):
            if (value := getattr(self, name)) < 1:
                raise InputError(f"{value} {name.replace('_', ' ')} are impossible: give 1 or more")


@dataclass(frozen=True)
class DemoConfig:
    """A small cell of SynthShift with a report."""

    seed: int = 0
    """Seed of all random numbers."""
