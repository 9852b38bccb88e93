"""Pictures of depth hands: joints over the depth, the mesh from the camera, and mesh and points from the side."""

from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from posebridge.cameras.multiview import transform
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.contracts.files import write_atomically
from posebridge.deployment.depth_predictor import DepthHands
from posebridge.deployment.overlay import draw_pose
from posebridge.rendering.rasterise_warp import rasterise
from posebridge.representations.depth_image import depth_image
from posebridge.skeletons.skeleton import Skeleton

_SIDE_PX = 320  # of each of the three pictures
_JPEG_QUALITY = 92
_SKIN = np.array([232, 190, 172], dtype=np.float32)
_BACKGROUND = np.array([28, 30, 36], dtype=np.float32)
_MEASURED = (90, 220, 255)  # measured points in the side view


def hand_panels(
    crop: UnlabelledBatch, hands: DepthHands, index: int, faces: Int[Tensor, "F 3"], skeleton: Skeleton, cube_m: float
) -> np.ndarray:
    """(320, 960, 3) uint8 RGB: depth with the skeleton; the mesh from the camera; mesh and measured points from the
    right-hand side.
    """
    crop = crop[index : index + 1].to("cpu")
    assert crop.camera is not None
    assert crop.depth_m is not None
    assert crop.centre_m is not None
    size_px = crop.depth_m.shape[-1]
    enlarged = _SIDE_PX / size_px
    K = crop.camera.K.clone()
    K[:, :2] *= enlarged
    K[:, :2, 2] += (enlarged - 1) / 2
    vertices_m, faces = hands.vertices_m[index : index + 1].cpu(), faces.cpu()

    near = (depth_image(crop.depth_m, crop.centre_m, cube_m)[0].permute(1, 2, 0) * 255).byte().numpy()
    near = cv2.resize(near, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_NEAREST)
    uv_px = crop.camera.project(hands.joints_m[index : index + 1].cpu())[0].numpy()
    joints = draw_pose(near, enlarged * (uv_px + 0.5) - 0.5, hands.confidence[index].cpu().numpy(), skeleton)

    aside = _side_view(crop.centre_m[0])[None]
    side = _shaded(transform(aside, vertices_m), faces, K)
    measured = transform(aside, measured_points(crop, cube_m)[None])[0]
    at = (measured[:, :2] / measured[:, 2:] @ K[0, :2, :2].T + K[0, :2, 2]).round().long()
    inside = ((at >= 0) & (at < _SIDE_PX)).all(1)
    side[at[inside, 1], at[inside, 0]] = _MEASURED
    return np.concatenate([joints, _shaded(vertices_m, faces, K), side], axis=1)


class DepthOverlays:
    """Writes a picture of each frame, ``<key>.jpg``; at most ``limit`` of them (None: all)."""

    def __init__(self, folder: Path, faces: Int[Tensor, "F 3"], skeleton: Skeleton, cube_m: float, limit: int | None):
        self.folder, self.limit = folder, limit
        self.files: set[Path] = set()
        self.faces, self.skeleton, self.cube_m = faces, skeleton, cube_m

    def add(self, crops: UnlabelledBatch, hands: DepthHands) -> None:
        """Draw the frames of a batch. Raises ``InputError`` where the folder or the disk refuses."""
        for i, key in enumerate(crops.key):
            if self.limit is not None and len(self.files) >= self.limit:
                return
            drawn = cv2.cvtColor(
                hand_panels(crops, hands, i, self.faces, self.skeleton, self.cube_m), cv2.COLOR_RGB2BGR
            )
            encoded = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
            path = self.folder / f"{key}.jpg"
            write_atomically(path, encoded.tobytes())
            self.files.add(path)


def _shaded(vertices_m: Float[Tensor, "1 V 3"], faces: Int[Tensor, "F 3"], K: Float[Tensor, "1 3 3"]) -> np.ndarray:
    """The mesh, lit from the camera."""
    raster = rasterise(vertices_m, faces, K, _SIDE_PX, _SIDE_PX)
    a, b, c = vertices_m[0, faces].unbind(1)
    facing = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)[:, 2].abs()
    light = facing[raster.face_index[0].clamp_min(0)].numpy()[..., None]
    return np.where(raster.mask[0].numpy()[..., None], _SKIN * (0.25 + 0.75 * light), _BACKGROUND).astype(np.uint8)


def _side_view(centre_m: Float[Tensor, "3"]) -> Float[Tensor, "4 4"]:
    """A quarter turn about the upright axis through the cube's centre, which brings distant points to the right."""
    T = torch.eye(4)
    T[:3, :3] = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    T[:3, 3] = centre_m - T[:3, :3] @ centre_m
    return T


def measured_points(crop: UnlabelledBatch, cube_m: float) -> Float[Tensor, "n 3"]:
    """The measured points in the cube, in metres of the camera frame."""
    assert crop.camera is not None
    assert crop.depth_m is not None
    assert crop.centre_m is not None
    depth_m = crop.depth_m[0]
    seen = (depth_m > 0) & ((depth_m - crop.centre_m[0, 2]).abs() < cube_m / 2)
    v, u = seen.nonzero(as_tuple=True)
    rays = crop.camera.rays(torch.stack([u, v], -1)[None].float())[0]
    return rays * depth_m[v, u, None]
