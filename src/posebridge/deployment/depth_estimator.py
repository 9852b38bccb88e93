"""Trained models of depth for use from Python: arrays or files in, joints and meshes out."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.crops import CubeCropConfig
from posebridge.data.datasets.options import Encoding
from posebridge.data.depth_target import DepthCrops, blob_between, open_depth
from posebridge.data.frames import Side
from posebridge.data.target import intrinsics_matrix
from posebridge.data.target_config import DepthTargetConfig
from posebridge.deployment.array_frames import DepthArrays, as_frames, intrinsics_of, per_frame
from posebridge.deployment.depth_predictor import DepthHandPredictor, MeshPredictor
from posebridge.deployment.estimator import Poses, file_or_none, joined_poses
from posebridge.deployment.mesh_set import MeshSet
from posebridge.deployment.predict_config import HandJoints, check_cropping
from posebridge.deployment.predictor import Predictor
from posebridge.deployment.refined_crops import depth_batches
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.named import skeleton_named


@dataclass(frozen=True)
class DepthEstimator:
    """Predicts hands in depth images."""

    predictor: Predictor
    cube_m: float

    def predict(
        self,
        depth: Any,
        hand: Side = "right",
        intrinsics: Any = None,
        *,
        unit_mm: float = 1.0,
        centres: Any = None,
        reach_m: tuple[float, float] = (0.1, 1.5),
        encoding: Encoding = "16-bit",
        batch_size: int = 16,
        joints: HandJoints = "hand21",
    ) -> Poses:
        """Poses of depth frames, in their order.

        depth: an array (H, W) of floats in metres, or of uint16 in steps of ``unit_mm``; a list, a stack (N, H, W) or
            an iterator of them; or the path of a picture, an archive, or a folder. 0 and NaN mean no measurement.
        hand: "left" or "right", of all frames.
        intrinsics: fx fy cx cy in pixels, or K (3, 3). Needed unless the path has its own.
        unit_mm: millimetres of one step of uint16, above 0.
        centres: middle of each hand's cube in mm, camera frame: (3,) for one array, one for each of several, or a
            file for paths. None: the nearest blob, then the middle of the joints that are predicted around it.
        reach_m: from where to where, in metres from the camera, a hand is searched.
        encoding: of pictures on disk, as in ``DepthTargetConfig``.
        joints: of the mesh that are returned: those of the network, of NYU ("nyu14"), or of ICVL ("icvl16").
        Raises ``InputError`` for arrays, centres or paths that can't be used, and where no frame is predicted.
        """
        check_cropping(1.0, 1, batch_size)
        if hand not in ("left", "right"):
            raise InputError(f"hand {hand!r} is neither left nor right")
        intrinsics_px = None if intrinsics is None else intrinsics_of(intrinsics)
        blob = blob_between(*reach_m)
        if isinstance(depth, str | Path):
            file = file_or_none(centres, "centres")
            frames = open_depth(DepthTargetConfig(Path(depth), intrinsics_px, unit_mm, encoding, file, reach_m, hand))
        else:
            frames = _depth_arrays(depth, intrinsics_px, hand, unit_mm, centres)
        crops = DepthCrops(frames, CubeCropConfig(self.predictor.spec.size_px, self.cube_m, hand), blob)
        predictor = _with_joints(self.predictor, joints)
        parts: list[KeypointSet] = []
        meshes: list[MeshSet] = []
        for batch in depth_batches(crops, self.predictor, batch_size):
            if isinstance(predictor, MeshPredictor):
                keypoints, mesh = predictor.predict_meshes(batch)
                meshes.append(mesh)
            else:
                keypoints = predictor.predict_batch(batch)
            parts.append(keypoints)
        return joined_poses(parts, crops.skipped, meshes)


def _with_joints(predictor: Predictor, joints: HandJoints) -> Predictor:
    """The predictor with other joints of its mesh. Raises ``InputError`` for unknown joints, or without a mesh."""
    if joints not in get_args(HandJoints):
        raise InputError(f"no joints {joints!r}: choose {', '.join(get_args(HandJoints))}")
    if isinstance(predictor, DepthHandPredictor):
        return replace(predictor, skeleton=skeleton_named(joints))
    if joints != HAND21.name:
        raise InputError(f"this model predicts the joints of {HAND21.name} without a mesh: leave joints out")
    return predictor


def _depth_arrays(
    depth: Any,
    intrinsics_px: tuple[float, float, float, float] | None,
    hand: Side,
    unit_mm: float,
    centres: Any,
) -> DepthArrays:
    if intrinsics_px is None:
        raise InputError("depth needs its camera's intrinsics: give fx fy cx cy in pixels")
    if not (np.isfinite(unit_mm) and unit_mm > 0):
        raise InputError(f"a unit of {unit_mm:g} mm is impossible: give the millimetres of one step, above 0")
    if isinstance(centres, str | Path):
        raise InputError("centres of arrays must be arrays as well: give x y z in mm, one for each frame")
    K = intrinsics_matrix(intrinsics_px)
    return DepthArrays(as_frames(depth, 2), K, hand, unit_mm, per_frame(centres, depth, 2))
