"""Evaluation protocols of benchmarks, and the options of ``posebridge score``. Free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from posebridge.contracts.record import Metric
from posebridge.errors import InputError
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.hand import HAND21

Alignment = Literal["none", "root", "root-scale", "similarity"]


@dataclass(frozen=True)
class EvaluationProtocol:
    """How the scores of a table are computed. Fractions are of the image's side."""

    name: str
    metric: Metric  # by which models are compared, and the gap that adaptation closes
    groups: Mapping[str, tuple[str, ...]]  # column of the table -> joint names
    threshold: float = 0.05  # a joint is correct if its error is strictly below this
    skip_border: float | None = None  # joints closer to the border, or outside, are ignored
    curve_end: float = 0.2  # the PCK curve covers thresholds from 0 to this
    curve_steps: int = 41  # number of thresholds, both ends included
    alignment: Alignment = "root-scale"  # in space; removes what a single RGB image can't determine
    root: str = HAND21.joints[HAND21.root]
    reference_bone: tuple[str, str] = HAND21.reference_bone
    success_mm: tuple[float, ...] = (20.0, 40.0, 80.0)  # a frame succeeds if its largest error is below


# The 2D protocol of the adaptation tables (RegDA, UniFrame): half of a tenth of the heat map's side, which is 0.05 of
# the image's; joints within one pixel of the border of the 64 px heat map are left out, absent joints ignored.
PCK_005 = EvaluationProtocol(name="PCK@0.05", metric="pck_005", groups=HAND21.groups, skip_border=1 / 64)

# The same for bodies, with the joint groups of Lin et al. (NeurIPS 2023), Table 2; in space, MPJPE.
PCK_005_BODY = EvaluationProtocol(
    name="PCK@0.05",
    metric="pck_005",
    groups=H36M17.groups,
    skip_border=1 / 64,
    alignment="root",
    root=H36M17.joints[H36M17.root],
    reference_bone=H36M17.reference_bone,
)

# Depth sensors measure scale and position, so joints in space are compared without alignment.
DEPTH_JOINT_ERROR = EvaluationProtocol(
    name="mean joint error", metric="mean_error_mm", groups=HAND21.groups, alignment="none"
)


@dataclass(frozen=True)
class ScoreOptions:
    """How ``posebridge score`` compares two files."""

    intrinsics: tuple[float, float, float, float] | None = None
    """fx fy cx cy in pixels: turns uvd (u px, v px, depth mm) into millimetres. Not needed where the truth holds K."""

    image_size: float | None = None
    """Side of the images in pixels: needed for PCK at fractions of it, and for --skip-border."""

    align: Alignment | None = None
    """Alignment of predicted joints in space to the truth: none, root (position), root-scale (position, and length of
    the reference bone), or similarity (rotation, translation and scale with the least squared error). Without it: none
    where both files are in one frame of reference, else root."""

    root_joint: str = HAND21.joints[HAND21.root]
    """Root joint of --align root and root-scale: its name, or its number where the files name no joints."""

    reference_bone: tuple[str, str] = HAND21.reference_bone
    """Bone whose length sets the scale of --align root-scale: the names of its two joints."""

    pck_mm: tuple[float, ...] = (10.0, 20.0, 30.0, 40.0, 50.0)
    """Thresholds of PCK in space, in mm, 1 or more."""

    pck_fraction: tuple[float, ...] = (0.05, 0.1, 0.2)
    """Thresholds of PCK in the image, as fractions of --image-size, below 1."""

    auc_mm: tuple[float, float] = (0.0, 50.0)
    """Range in mm over which the area under the PCK curve is taken."""

    success_mm: tuple[float, ...] = (20.0, 40.0, 80.0)
    """Thresholds in mm for the fraction of frames whose largest joint error is below."""

    skip_border: float | None = None
    """In the image, ignore joints whose truth lies within this many pixels of the border, or outside."""

    def __post_init__(self):
        if any(not 0 < t < 1 for t in self.pck_fraction):
            raise InputError(f"--pck-fraction {_join(self.pck_fraction)} is out of range: give fractions in (0, 1)")
        if any(not t >= 1 for t in (*self.pck_mm, *self.success_mm)):
            raise InputError("--pck-mm and --success-mm take millimetres of 1 or more; fractions go to --pck-fraction")
        if not 0 <= self.auc_mm[0] < self.auc_mm[1]:
            raise InputError(f"--auc-mm {_join(self.auc_mm)} is no range: give two rising numbers of 0 or more")
        if self.image_size is not None and not self.image_size > 0:
            raise InputError(f"--image-size {self.image_size:g} is impossible: give the side of the images in pixels")
        if self.skip_border is not None and self.image_size is None:
            raise InputError("--skip-border needs the border: give --image-size, the side of the images in pixels")


@dataclass(frozen=True)
class Benchmark:
    """How ``posebridge score`` computes a metric of the papers' tables."""

    options: ScoreOptions
    result: tuple[str, ...]  # keys of the metric in the JSON output


# Yang (dissertation 2022), Sec. 6.4.2: root and scale are known, and the root is the base of the middle finger. The
# reference bone is FreiHAND's, to which that section refers: the first of the middle finger.
_ROOT_SCALE: dict = {
    "align": "root-scale",
    "root_joint": "middle_1",
    "reference_bone": ("middle_1", "middle_2"),
}

# Keys are names of ``published_tables.METRICS``.
BENCHMARKS: Mapping[str, Benchmark] = {
    "PCK@0.05": Benchmark(ScoreOptions(image_size=256, pck_fraction=(0.05,), skip_border=4), ("pck", "0.05")),
    "EPE": Benchmark(ScoreOptions(**_ROOT_SCALE), ("mean_joint_error_mm",)),
    "AUC": Benchmark(ScoreOptions(**_ROOT_SCALE, auc_mm=(20, 50)), ("auc", "value")),
    "MPJPE": Benchmark(ScoreOptions(align="root", root_joint="pelvis"), ("mean_joint_error_mm",)),
    "PA-MPJPE": Benchmark(ScoreOptions(), ("pa_mean_joint_error_mm",)),
    "mean joint error": Benchmark(ScoreOptions(), ("mean_joint_error_mm",)),
    "success rate at 20 mm": Benchmark(ScoreOptions(), ("success_rate_max", "20")),
}


def _join(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:g}" for number in numbers)
