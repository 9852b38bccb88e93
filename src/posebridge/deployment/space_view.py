"""Depth hands as they are predicted, in a recording for the Rerun viewer."""

from pathlib import Path
from types import TracebackType
from typing import Self

from jaxtyping import Int
from torch import Tensor

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.deployment.depth_overlay import measured_points
from posebridge.deployment.depth_predictor import DepthHands
from posebridge.deployment.recording import RecordedPose, Recording
from posebridge.skeletons.skeleton import Skeleton

RECORDING = "hands.rrd"


class SpaceView:
    """A recording of the crops' measured points, meshes and joints. Times count the moments in their order."""

    def __init__(self, path: Path, faces: Int[Tensor, "F 3"], skeleton: Skeleton, cube_m: float):
        """Open the file. Raises ``InputError`` where Rerun isn't installed, or the file can't be written."""
        self._recording = Recording(path, skeleton, faces.numpy())
        self._cube_m = cube_m
        self._moments: dict[tuple[str, int], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._recording.__exit__(kind, error, at)

    def add(self, crops: UnlabelledBatch, hands: DepthHands) -> None:
        """Record the hands of a batch."""
        crops = crops.to("cpu")
        for i, key in enumerate(crops.key):
            crop = crops[i : i + 1]
            assert crop.camera is not None
            assert crop.depth_m is not None
            height, width = crop.depth_m.shape[-2:]
            pose = RecordedPose(
                key=key,
                moment=self._moment(crops, i, key),
                view=0 if crops.view is None else int(crops.view[i]),
                size_px=(width, height),
                K=crop.camera.K[0].numpy(),
                confidence=hands.confidence[i].cpu().numpy(),
                joints_m=hands.joints_m[i].cpu().numpy(),
                vertices_m=hands.vertices_m[i].cpu().numpy(),
                points_m=measured_points(crop, self._cube_m).numpy(),
                T_world_cam=None if crop.T_world_cam is None else crop.T_world_cam[0].double().numpy(),
            )
            self._recording.add(pose)

    def _moment(self, crops: UnlabelledBatch, i: int, key: str) -> int:
        sequence = "" if crops.sequence is None else crops.sequence[i]
        named = (key, 0) if crops.frame is None else (sequence, int(crops.frame[i]))
        return self._moments.setdefault(named, len(self._moments))
