"""The numbers and pictures that a run leaves behind: all that the report reads. Free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Role = Literal["source_only", "adapted", "supervised_target"]
Metric = Literal["pck_005", "mean_error_mm"]  # the number of a run's headline
HIGHER_IS_BETTER: Mapping[Metric, bool] = {"pck_005": True, "mean_error_mm": False}
ROLES: tuple[Role, ...] = ("source_only", "adapted", "supervised_target")
Supervision = Literal["source only", "unlabelled target", "target labels"]  # what a published method learnt from


@dataclass(frozen=True)
class Score:
    """How one model did on labelled frames. Shares are in [0, 1]; a number without any valid joint is NaN."""

    n_frames: int
    joint_names: tuple[str, ...]
    image_side_px: float  # what the fractions below are fractions of
    pck_005: float  # share of joints closer than 0.05 of the image side
    mean_error_px: float
    auc: float  # area under the PCK curve over the whole range of its thresholds
    pck_thresholds: tuple[float, ...]  # fractions of the image side, rising
    pck_curve: tuple[float, ...]
    per_joint_pck: tuple[float, ...]  # at 0.05, in the order of joint_names
    per_joint_error_px: tuple[float, ...]
    per_group_pck: Mapping[str, float] = field(default_factory=dict)  # at 0.05
    alignment: str = "none"  # what was done to the joints in space before the three numbers below
    mean_error_mm: float | None = None  # None where prediction or truth has no joints in space
    median_error_mm: float | None = None
    pa_mean_error_mm: float | None = None  # after a similarity alignment of every frame
    success_rates: Mapping[str, float] = field(default_factory=dict)  # mm -> share of frames whose worst joint is below

    def number(self, metric: Metric) -> float:
        """The number of a metric; NaN where it could not be measured."""
        value = getattr(self, metric)
        return float("nan") if value is None else value


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that could have been chosen, with the number by which the choice was made."""

    step: int
    score: float


@dataclass(frozen=True)
class CheckpointChoice:
    """Which checkpoint was kept, and why. ``oracle`` is for comparison only and never took part."""

    criterion: str  # in words, one sentence
    step: int
    candidates: tuple[Candidate, ...] = ()
    higher_is_better: bool = True
    oracle: Candidate | None = None  # the step that the target's labels would have chosen, with its PCK@0.05
    oracle_at_choice: float | None = None  # PCK@0.05 of the step that was chosen


@dataclass(frozen=True)
class PseudoLabels:
    """Pseudo-labels at one step of training; shares in [0, 1]."""

    step: int
    coverage: float  # share of target joints that got one
    precision: float | None = None  # share of those within 0.05 of the image side; None without truth
    ever_right: float | None = None  # share of target joints given a right one at least once so far; None without truth
    overlap: float | None = None  # of the joints trusted by heat map or by anatomy, share trusted by both
    wrong_again: float | None = None  # wrong ones of this checkpoint and the one before: intersection over union


@dataclass(frozen=True)
class ConfidentJoints:
    """Joints whose pseudo-labels were trusted before reconstruction took part: share within 0.05 then, and at the end.

    Table 3 (c) of Lin et al., NeurIPS 2023. A share of no joint is NaN.
    """

    count: Mapping[str, int]  # by group of joints
    before: Mapping[str, float]
    after: Mapping[str, float]

    def __post_init__(self):
        if not self.count.keys() == self.before.keys() == self.after.keys():
            raise ValueError("confident joints are counted and scored by different groups")


@dataclass(frozen=True)
class GalleryFrame:
    """A frame to look at."""

    key: str
    kind: Literal["best", "median", "worst", "sample"]  # sample where there is no truth to rank by
    image: np.ndarray  # (H, W, 3) uint8 RGB
    uv_pred: np.ndarray  # (J, 2) pixels of this image; NaN where a joint is missing
    uv_truth: np.ndarray | None = None  # (J, 2)
    error_px: float | None = None  # mean over the frame's valid joints, in pixels of the scored image


@dataclass(frozen=True)
class Redrawing:
    """A driving frame of a video, redrawn from a base frame of it through the pose."""

    base_key: str
    driving_key: str
    base: np.ndarray  # (H, W, 3) uint8 RGB
    driving: np.ndarray  # (H, W, 3) uint8
    redrawn: np.ndarray  # (H, W, 3) uint8
    regions: np.ndarray  # (J + 1, h, w) uint8: masks of the background and of the J bones, 255 for one
    displacement_px: np.ndarray  # (h, w, 2) float: from a pixel of the driving frame to its place in the base frame
    inpainting: np.ndarray  # (h, w) uint8: 255 taken from the base frame, 0 painted anew
    uv_base: np.ndarray  # (J', 2) predicted joints of the base frame, pixels of the image; NaN where one is missing
    uv_before: np.ndarray  # (J', 2) of the driving frame, as the network saw them before reconstruction took part
    uv_after: np.ndarray  # (J', 2) and at the end
    uv_truth: np.ndarray | None = None

    def __post_init__(self):
        image, grid = self.base.shape, self.inpainting.shape
        if len(image) != 3 or len(grid) != 2:
            raise ValueError(f"redrawing of {self.driving_key} has a base {image} and an inpainting map {grid}")
        expected = {
            **dict.fromkeys(("base", "driving", "redrawn"), (np.uint8, (*image[:2], 3))),
            "regions": (np.uint8, (len(self.regions), *grid)),
            "displacement_px": (np.floating, (*grid, 2)),
            "inpainting": (np.uint8, grid),
        }
        for name, (kind, shape) in expected.items():
            array = getattr(self, name)
            if array.shape != shape or not np.issubdtype(array.dtype, kind):
                raise ValueError(
                    f"{name} of the redrawing of {self.driving_key} is {array.dtype} {array.shape}, "
                    f"not {kind.__name__} {shape}"
                )


@dataclass(frozen=True)
class DepthFit:
    """How well one model's hands explain the depth of a target, over its frames."""

    frames: int
    apart_mm: float  # of the mesh along the ray where both are: the median over frames of each one's median
    worst_apart_mm: float  # nine frames of ten are better
    explained: float  # share of what was measured in the cube that is within a centimetre of the mesh; the mean
    of_two_minds_mm: float  # of the joints that the pixels tell from those of the mesh: the median of frames' means


@dataclass(frozen=True)
class DepthHandPicture:
    """A depth frame with its hand before adaptation and after: depth with joints, mesh, and both from the side."""

    key: str
    before: np.ndarray  # (H, W, 3) uint8 RGB
    after: np.ndarray  # (H, W, 3) uint8
    apart_before_mm: float
    apart_after_mm: float


@dataclass(frozen=True)
class Skipped:
    """A file that could not be used."""

    file: str
    reason: str


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from."""

    command: str
    seed: int
    seconds: float
    config: Mapping[str, Any] = field(default_factory=dict)  # nested; numbers, text, lists and dictionaries only
    versions: Mapping[str, str] = field(default_factory=dict)
    checkpoint: CheckpointChoice | None = None


@dataclass(frozen=True)
class PublishedRow:
    """One method's numbers in one table of a paper, under one protocol, to stand beside a run's own."""

    paper: str  # Lin et al., NeurIPS 2023
    table: str  # Table 1
    source: str
    target: str
    metric: str
    unit: str
    higher_is_better: bool | None  # None for what is neither good nor bad
    variant: str  # what else the paper tells its columns apart by; often empty
    split: str
    backbone: str  # empty where the paper names none
    method: str
    supervision: Supervision
    own: bool  # what the paper proposes
    values: Mapping[str, float | None]  # group of joints -> number; None where the paper prints none
    doubts: tuple[str, ...] = ()  # why a number of this row should be read with care


@dataclass(frozen=True)
class Record:
    """What a run leaves behind. Written and read by ``contracts.record_file``."""

    title: str
    method: str
    joint_names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]  # (parent, child) indices into joint_names
    provenance: Provenance
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # indices into joint_names
    scores: Mapping[Role, Score] = field(default_factory=dict)  # any of ROLES may be absent
    curves: Mapping[str, Mapping[str, tuple[tuple[int, float], ...]]] = field(default_factory=dict)
    # stage -> metric -> (step, value), steps rising
    pseudo_labels: tuple[PseudoLabels, ...] = ()
    gallery: tuple[GalleryFrame, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    metric: Metric = "pck_005"  # by which the gap is told
    published: tuple[PublishedRow, ...] = ()  # of the same target and metric; rows of one table stand together
    redrawings: tuple[Redrawing, ...] = ()
    confident: ConfidentJoints | None = None
    depth_fits: Mapping[Role, DepthFit] = field(default_factory=dict)
    depth_hands: tuple[DepthHandPicture, ...] = ()

    def __post_init__(self):
        joints = range(len(self.joint_names))
        if any(joint not in joints for indices in (*self.bones, *self.groups.values()) for joint in indices):
            raise ValueError(f"bones or groups speak of joints beyond the {len(joints)} that are named")
        for frame in self.gallery:
            for uv in (frame.uv_pred, frame.uv_truth):
                if uv is not None and uv.shape != (len(joints), 2):
                    raise ValueError(f"joints of gallery frame {frame.key} have shape {uv.shape}")
        for drawn in self.redrawings:
            if len(drawn.regions) != len(self.bones) + 1:
                raise ValueError(f"redrawing of {drawn.driving_key} has {len(drawn.regions)} regions")
            for uv in (drawn.uv_base, drawn.uv_before, drawn.uv_after, drawn.uv_truth):
                if uv is not None and uv.shape != (len(joints), 2):
                    raise ValueError(f"joints of the redrawing of {drawn.driving_key} have shape {uv.shape}")

    @property
    def gap_closed(self) -> float | None:
        """(adapted - source only) / (supervised - source only) in ``metric``; None where there is no gap to close."""
        if any(role not in self.scores for role in ROLES):
            return None
        worst, adapted, best = (self.scores[role].number(self.metric) for role in ROLES)
        gap = best - worst if HIGHER_IS_BETTER[self.metric] else worst - best
        return (adapted - worst) / (best - worst) if gap > 0 and np.isfinite(adapted) else None
