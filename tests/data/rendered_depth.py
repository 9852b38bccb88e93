"""Rendered depth hands as a user's files; the crops are used as whole frames."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.draw import generator_for
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.depth_scene import DEPTH_STUDIO, render_depth_hands, with_meshes

SIDE, UNIT_M = 96, 1e-4


def hands(sets: int = 2, seed: int = 5) -> LabelledBatch:
    """Sets of three calibrated views, with meshes."""
    return with_meshes(render_depth_hands(DEPTH_STUDIO, sets, SIDE, generator_for(seed, 1)))


def write_archive(path: Path, batch: LabelledBatch, **changes) -> Path:
    """Write all frames to one ``.npz``; ``changes`` replace arrays, or remove those that are None."""
    arrays = {
        "depth_m": batch.depth_m.numpy(),
        "K": batch.camera.K.numpy(),
        "sequence": np.array(batch.sequence),
        "frame": batch.frame.numpy(),
        "view": batch.view.numpy(),
        "T_world_cam": batch.T_world_cam.numpy(),
    }
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def write_rig(folder: Path, batch: LabelledBatch, names=("left", "middle", "right"), moments=("7", "12")) -> Path:
    """Write the first set as images of static cameras, the same at every moment."""
    cameras = {}
    for view, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        K = batch.camera.K[view]
        pixels = [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]
        cameras[name] = {"intrinsics": [x.item() for x in pixels], "T_world_cam": batch.T_world_cam[view].tolist()}
        for moment in moments:
            write_depth(folder / name / f"{moment}.png", batch.depth_m[view].numpy())
    (folder / "cameras.json").write_text(json.dumps(cameras))
    return folder


def write_depth(file: Path, depth_m: np.ndarray) -> None:
    """Write an image of 16 bits."""
    Image.fromarray(np.rint(depth_m / UNIT_M).astype(np.uint16)).save(file)


def truth_of(batch: LabelledBatch, keys: list[str]) -> KeypointSet:
    """The labels under the keys of the reader."""
    uv_px, joints_mm = batch.uv_px.numpy(), 1000 * batch.joints_m.numpy()
    return KeypointSet(np.array(keys), HAND21.joints, uv_px=uv_px, xyz_mm=joints_mm)
