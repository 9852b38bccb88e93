"""The record of a run: its scores, curves, pictures and sections, and all that the report reads. Free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from posebridge.contracts.roles import ROLES, Role
from posebridge.contracts.section import Section, check_image

Metric = Literal["pck_005", "mean_error_mm"]  # by which the gap is measured
HIGHER_IS_BETTER: Mapping[Metric, bool] = {"pck_005": True, "mean_error_mm": False}
Supervision = Literal["source only", "unlabelled target", "target labels"]  # what a published method was trained on


@dataclass(frozen=True)
class Score:
    """The accuracy of one model on labelled frames. Shares are in [0, 1]; a number without any valid joint is NaN."""

    n_frames: int
    joint_names: tuple[str, ...]
    image_side_px: float  # the unit of the thresholds below
    pck_005: float  # share of joints with an error below 0.05 of the image side
    mean_error_px: float
    auc: float  # area under the PCK curve over the whole range of its thresholds
    pck_thresholds: tuple[float, ...]  # in image sides, rising
    pck_curve: tuple[float, ...]
    per_joint_pck: tuple[float, ...]  # at 0.05, in the order of joint_names
    per_joint_error_px: tuple[float, ...]
    per_group_pck: Mapping[str, float] = field(default_factory=dict)  # at 0.05
    alignment: str = "none"  # applied to 3D joints before the three errors below
    mean_error_mm: float | None = None  # None where prediction or truth has no 3D joints
    median_error_mm: float | None = None
    pa_mean_error_mm: float | None = None  # after a similarity alignment (Procrustes) of every frame
    success_rates: Mapping[str, float] = field(default_factory=dict)  # mm -> share of frames whose worst joint is below

    def number(self, metric: Metric) -> float:
        """The value of a metric; NaN where it wasn't measured."""
        value = getattr(self, metric)
        return float("nan") if value is None else value


@dataclass(frozen=True)
class Candidate:
    """A checkpoint to choose from, with its label-free score."""

    step: int
    score: float


@dataclass(frozen=True)
class CheckpointChoice:
    """Which checkpoint was kept, by which criterion. ``oracle`` is for comparison and has no part in the choice."""

    criterion: str  # one sentence
    step: int
    candidates: tuple[Candidate, ...] = ()
    higher_is_better: bool = True
    oracle: Candidate | None = None  # the best step by labels of the target, with its PCK@0.05
    oracle_at_choice: float | None = None  # PCK@0.05 of the chosen step


@dataclass(frozen=True)
class GalleryFrame:
    """A frame with its predicted joints."""

    key: str
    kind: Literal["best", "median", "worst", "sample"]  # by error; sample where there are no labels
    image: np.ndarray  # (H, W, 3) uint8 RGB
    uv_pred: np.ndarray  # (J, 2) pixels of this image; NaN where a joint is missing
    uv_truth: np.ndarray | None = None  # (J, 2)
    error_px: float | None = None  # mean over the frame's valid joints, in pixels of the scored image

    def __post_init__(self):
        check_image(self.image, f"gallery frame {self.key}")


@dataclass(frozen=True)
class Skipped:
    """A file that could not be used."""

    file: str
    reason: str


@dataclass(frozen=True)
class Provenance:
    """The command, seed, configuration and versions behind a record."""

    command: str
    seed: int
    seconds: float
    config: Mapping[str, Any] = field(default_factory=dict)  # nested; numbers, text, lists and dictionaries only
    versions: Mapping[str, str] = field(default_factory=dict)
    checkpoint: CheckpointChoice | None = None


@dataclass(frozen=True)
class PublishedRow:
    """One method's numbers in one table of a paper, under one protocol."""

    paper: str  # Lin et al., NeurIPS 2023
    table: str  # Table 1
    source: str
    target: str
    metric: str
    unit: str
    higher_is_better: bool | None  # None where neither is better
    variant: str  # further conditions of the column, such as occlusion; often empty
    split: str
    backbone: str  # empty where the paper names none
    method: str
    supervision: Supervision
    proposed: bool  # True for the method that the paper proposes
    values: Mapping[str, float | None]  # group of joints -> number; None where the paper prints none
    caveats: tuple[str, ...] = ()  # reasons to read a number of this row with care


@dataclass(frozen=True)
class Record:
    """The record of a run. Written and read by ``contracts.record_file``."""

    title: str
    method: str
    joint_names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]  # (parent, child) indices into joint_names
    provenance: Provenance
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # indices into joint_names
    scores: Mapping[Role, Score] = field(default_factory=dict)  # any of ROLES may be absent
    curves: Mapping[str, Mapping[str, tuple[tuple[int, float], ...]]] = field(default_factory=dict)
    # stage -> metric -> (step, value), steps rising
    gallery: tuple[GalleryFrame, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()  # of results that are not to be relied on, at the top of the report
    metric: Metric = "pck_005"  # by which the gap is measured
    published: tuple[PublishedRow, ...] = ()  # for the same target; rows of one table are adjacent
    sections: tuple[Section, ...] = ()  # of the method, in the order of the report

    def __post_init__(self):
        joints = range(len(self.joint_names))
        if any(joint not in joints for indices in (*self.bones, *self.groups.values()) for joint in indices):
            raise ValueError(f"bones or groups refer to joints beyond the {len(joints)} of joint_names")
        for frame in self.gallery:
            for uv in (frame.uv_pred, frame.uv_truth):
                if uv is not None and uv.shape != (len(joints), 2):
                    raise ValueError(
                        f"joints of gallery frame {frame.key} have shape {uv.shape}, expected ({len(joints)}, 2)"
                    )
        for section in self.sections:
            for picture in section.pictures:
                for pose in picture.poses:
                    if len(pose.uv_px) != len(joints):
                        raise ValueError(
                            f"picture {picture.caption!r} of section {section.title!r} has {len(pose.uv_px)} joints, "
                            f"expected {len(joints)}"
                        )

    @property
    def gap_closed(self) -> float | None:
        """(adapted - source only) / (supervised - source only) in ``metric``; None where there is no gap to close."""
        if any(role not in self.scores for role in ROLES):
            return None
        worst, adapted, best = (self.scores[role].number(self.metric) for role in ROLES)
        gap = best - worst if HIGHER_IS_BETTER[self.metric] else worst - best
        return (adapted - worst) / (best - worst) if gap > 0 and np.isfinite(adapted) else None
