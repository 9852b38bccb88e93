"""The frame of reference of joints in space, as their coordinates show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.errors import InputError
from posebridge.skeletons.plausible_lengths import spread_mm

_ORIGIN_MM = 0.01  # a root minus itself is 0, up to conversions between formats
_NEAR = 1.0  # largest distance of the joints' mean from a point of the subject, in diagonals of the joints' box
_MIN_AGREEMENT = 0.5  # correlation of x with u and y with v; that of noisy labels in the camera's axes exceeds 0.9
_DESCRIPTIONS = {
    "camera": "in the camera's frame",
    "subject": "relative to a point of the subject",
    "other": "neither before a camera nor around the origin",
}


@dataclass(frozen=True)
class ReferenceFrame:
    """Where the origin of joints in space lies.

    ``camera``: all joints lie before the camera. ``joint``: a joint is the origin in every frame. ``subject``: another
    point of the subject is. ``other``: neither, such as a world frame or a camera that looks along -z.
    """

    kind: Literal["camera", "joint", "subject", "other"]
    joint: int | None = None

    @property
    def relative(self) -> bool:
        """Whether the origin moves with the subject."""
        return self.kind in ("joint", "subject")

    def describe(self, joint_names: Sequence[str]) -> str:
        """The frame as part of a sentence."""
        if self.joint is not None:
            return f"relative to the joint {joint_names[self.joint]}"
        return _DESCRIPTIONS[self.kind]


def reference_frame(xyz_mm: np.ndarray) -> ReferenceFrame | None:
    """The frame of joints (N, J, 3) in mm; missing joints are not finite. None where no frame has three joints.

    Joints at the origin are either the root or missing joints that were saved as 0.
    """
    at_origin = np.asarray((np.abs(xyz_mm) < _ORIGIN_MM).all(-1))
    others_mm = np.where(at_origin[..., None], np.nan, xyz_mm)
    spread_of = spread_mm(others_mm)
    usable = spread_of > 0
    if not usable.any():
        return None
    at_origin, others_mm = at_origin[usable], others_mm[usable]
    missing = np.asarray(~np.isfinite(others_mm).all(-1))
    centre_mm = np.where(missing[..., None], 0, others_mm).sum(1) / (~missing).sum(1, keepdims=True)
    near = np.median(np.linalg.norm(centre_mm, axis=-1) / spread_of[usable]) <= _NEAR
    roots = np.flatnonzero((at_origin | ~np.isfinite(xyz_mm[usable]).all(-1)).all(0) & at_origin.any(0))
    if near and roots.size:
        return ReferenceFrame("joint", int(roots[0]))
    if (missing | (others_mm[..., 2] > 0)).all(1).mean() > 0.5:
        return ReferenceFrame("camera")
    return ReferenceFrame("subject" if near else "other")


def check_reference_frame(truth: KeypointSet, source: str, *, relative: bool = True) -> None:
    """Check that ``xyz_mm`` of labels are in the camera's frame, or with ``relative`` relative to the subject.

    Where labels have ``uv_px`` too, x must grow with u and y with v. ``source`` names the file. Raises ``InputError``
    for other frames, such as that of a world or of a camera that looks along -z.
    """
    if truth.xyz_mm is None:
        return
    xyz_mm = np.where(truth.present("xyz_mm")[..., None], truth.xyz_mm, np.nan)
    frame = reference_frame(xyz_mm)
    if frame is None:
        return
    wanted = "the camera's frame (x right, y down, z forward)" + (" or relative to the root" if relative else "")
    advice = f"give it in {wanted}, or leave it out"
    if frame.kind != "camera" and not (relative and frame.relative):
        names = truth.joint_names or tuple(map(str, range(truth.n_joints)))
        raise InputError(f"{source}: xyz_mm is {frame.describe(names)}: {advice}")
    if truth.uv_px is not None:
        rays = xyz_mm[..., :2] / (xyz_mm[..., 2:] if frame.kind == "camera" else 1)
        agreement = _axis_agreement(rays, np.where(truth.present("uv_px")[..., None], truth.uv_px, np.nan))
        if agreement.min() < _MIN_AGREEMENT:
            raise InputError(
                f"{source}: x and y of xyz_mm don't grow with u and v of uv_px (correlations "
                f"{agreement[0]:.2f} and {agreement[1]:.2f}), so its axes aren't the camera's: {advice}"
            )


def _axis_agreement(rays: np.ndarray, uv_px: np.ndarray) -> np.ndarray:
    """Correlations (2,) within frames of x with u and of y with v, of rays and pixels (N, J, 2).

    1 for axes without any spread.
    """
    present = (np.isfinite(rays) & np.isfinite(uv_px)).all(-1, keepdims=True)
    parts = []
    for points in (rays, uv_px):
        count = np.maximum(present.sum(1, keepdims=True), 1)
        centred = np.where(present, points - np.where(present, points, 0).sum(1, keepdims=True) / count, 0)
        spread = np.linalg.norm(centred, axis=(1, 2), keepdims=True)
        parts.append(centred / np.where(spread > 0, spread, 1))
    x, u = parts
    scale = np.sqrt((x**2).sum((0, 1)) * (u**2).sum((0, 1)))
    return np.where(scale > 0, (x * u).sum((0, 1)) / np.where(scale > 0, scale, 1), 1.0)
