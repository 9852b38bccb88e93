"""The three views of NYU together, with camera poses found from the joints, since the release has none.

As in the literature (Ren et al., CVPR 2022, Sec. 4.1), the annotations serve for the cameras' poses and nothing else.
The world is the frame of view 1.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from posebridge.data.datasets.hand_centres import CentreSource
from posebridge.data.datasets.nyu import NYU
from posebridge.data.datasets.options import Split
from posebridge.data.frames import FrameIndex, FrameLabels, IndexedFrames, LabelledFrames, RawFrame
from posebridge.data.subset import even_positions
from posebridge.errors import InputError
from posebridge.geometry.alignment import fit_similarity

_FRAMES = 512  # evenly chosen frames by which the cameras are calibrated
_MAX_JOINT_DISTANCE_M = 0.02  # median between views after alignment; above it the joints calibrate nothing


def open_nyu(
    root: str | Path, split: Split, views: tuple[int, ...] = (1,), centres: CentreSource = "blob"
) -> LabelledFrames:
    """One view of NYU, or the three calibrated ones. Raises ``InputError`` as ``NYU`` and ``NYUViews`` do."""
    if views == (1, 2, 3):
        if isinstance(centres, Path):
            raise InputError("centres of a file are those of view 1: leave them out, or read one view")
        return NYUViews(root, split, centres)
    if len(views) != 1 or views[0] not in (1, 2, 3):
        raise InputError(f"nyu: views {views}; give one of 1, 2 and 3, or all of them in this order")
    return NYU(root, split, views[0], centres)


class NYUViews(IndexedFrames):
    """Moments that all three views have, in the order of the release, view 1 first; keys and numbers as in ``NYU``."""

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        centres: Literal["blob", "labels", "none"] = "blob",
    ):
        """Raises ``InputError`` where a view or ``joint_data.mat`` is missing, or the views' joints don't agree."""
        self.views = [NYU(root, split, view, centres) for view in (1, 2, 3)]
        self.skipped: dict[str, str] = {}
        self._poses = [np.eye(4), *(_pose(self.views[0], view) for view in self.views[1:])]
        shared = {*self.views[0].numbers} & {*self.views[1].numbers} & {*self.views[2].numbers}
        rows = [{number: i for i, number in enumerate(view.numbers)} for view in self.views]
        self._places = [(v, row[number]) for number in sorted(shared) for v, row in enumerate(rows)]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken or it has no centre."""
        v, i = self._places[index]
        return replace(self.views[v][i], T_world_cam=self._poses[v])

    def frame_index(self) -> FrameIndex:
        """Split, number and view of every picture."""
        records = (self.views[v].record(i) for v, i in self._places)
        return FrameIndex.of((record.sequence, record.frame, record.view) for record in records)

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of ``NYU14``."""
        v, i = self._places[index]
        return self.views[v].labels(i)


def _pose(first: NYU, other: NYU) -> np.ndarray:
    """``T_first_other`` (4, 4), the rigid motion that takes the joints of one view to those of the first."""
    shared = sorted({*first.numbers} & {*other.numbers})
    chosen = [shared[i] for i in even_positions(len(shared), _FRAMES)]
    here, there = (_joints(view, chosen) for view in (first, other))
    known = torch.isfinite(here).all(-1) & torch.isfinite(there).all(-1)
    if known.sum() < 4:
        raise InputError(f"{first.folder}: no annotated frame of views {first.view} and {other.view} to calibrate by")
    fit = fit_similarity(there[known][None], here[known][None], with_scale=False)
    distance_m = (fit.apply(there[known][None])[0] - here[known]).norm(dim=-1).median().item()
    if distance_m > _MAX_JOINT_DISTANCE_M:
        raise InputError(
            f"{first.folder}: the joints of views {first.view} and {other.view} are {1000 * distance_m:.0f} mm apart "
            "at best, so the cameras can't be calibrated by them; take --views 1"
        )
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = fit.R[0].numpy(), fit.t[0].numpy()
    return T


def _joints(view: NYU, numbers: list[int]) -> torch.Tensor:
    """(n * 14, 3) metres, NaN where a joint isn't labelled."""
    row = {number: i for i, number in enumerate(view.numbers)}
    joints: list[np.ndarray] = []
    for number in numbers:
        labels = view.labels(row[number])
        assert labels.joints_m is not None
        joints.append(np.where(labels.valid[:, None], labels.joints_m, np.nan))
    return torch.from_numpy(np.concatenate(joints)).double()
