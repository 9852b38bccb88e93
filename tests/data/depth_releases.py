"""NYU, ICVL and MSRA in the layouts of their releases, each with a few frames of one open hand."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from data.depth_on_disk import depth_picture_m, hand_places
from posebridge.data.datasets.icvl import ICVL_K
from posebridge.data.datasets.msra import MSRA_K
from posebridge.data.datasets.nyu import NYU_K, ROWS_OF_NYU14
from posebridge.skeletons.depth_hands import ICVL16, NYU14

FX, FY, CX, CY = 588.03, -587.07, 320.0, 240.0  # as the release has them
MSRA_ORDER = [
    "wrist",
    *(f"{finger}_{i}" for finger in ("index", "middle", "ring", "pinky", "thumb") for i in (1, 2, 3, 4)),
]


def write_nyu(root: Path, frames: int = 3, scale: float = 1.0, split: str = "test") -> np.ndarray:
    """A split of three views; the release's ``joint_xyz`` (3, N, 36, 3), y up, in millimetres."""
    folder = root / split
    folder.mkdir(parents=True)
    xyz = np.random.default_rng(0).uniform(650, 750, (3, frames, 36, 3))
    for view in range(3):
        for frame in range(frames):
            places = hand_places((0.03 * view, 0.02 * frame, 0.6))
            for number, joint in zip(ROWS_OF_NYU14, NYU14.joints, strict=True):
                xyz[view, frame, number] = places[joint] * [1000, -1000, 1000]
            mm = np.rint(depth_picture_m(places, NYU_K, 640, 480) * 1000).astype(int)
            mm[mm == 0] = 2001
            rgb = np.stack([np.zeros_like(mm), mm // 256, mm % 256], axis=-1).astype(np.uint8)
            Image.fromarray(rgb).save(folder / f"depth_{view + 1}_{frame + 1:07d}.png")
    xyz *= scale
    x, y, z = np.moveaxis(xyz, -1, 0)
    uvd = np.stack([CX + FX * x / z, CY + FY * y / z, z], axis=-1)
    savemat(folder / "joint_data.mat", {"joint_uvd": uvd, "joint_xyz": xyz, "joint_names": np.zeros((1, 36))})
    return xyz


def write_icvl_frame(depth: Path, name: str, seed: int) -> str:
    """Write the image. Returns its line of the list."""
    places = hand_places((0.002 * seed, 0.001 * seed, 0.35 + 0.01 * seed))
    file = depth / name
    file.parent.mkdir(parents=True, exist_ok=True)
    mm = np.rint(depth_picture_m(places, ICVL_K, 320, 240) * 1000).astype(np.uint16)
    Image.fromarray(mm).save(file)
    joints = np.stack([places[joint] for joint in ICVL16.joints])
    uv = (joints @ ICVL_K.T)[:, :2] / joints[:, 2:]
    numbers = np.concatenate([uv, joints[:, 2:] * 1000], axis=1).ravel()
    return f"{name} " + " ".join(f"{number:.4f}" for number in numbers) + " \n"


def write_msra_sequence(folder: Path, frames: int, scale: float = 1.0) -> None:
    folder.mkdir(parents=True)
    lines = [f"{frames}"]
    for number in range(frames):
        places = hand_places((0.002 * number, 0.001 * number, 0.35))
        mm = depth_picture_m(places, MSRA_K, 320, 240) * 1000
        rows, columns = np.nonzero(mm)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        header = np.array([320, 240, *box], "<i4")
        body = mm[box[1] : box[3], box[0] : box[2]].astype("<f4")
        (folder / f"{number:06d}_depth.bin").write_bytes(header.tobytes() + body.tobytes())
        joints = np.stack([places[name] for name in MSRA_ORDER]) * [1000, -1000, -1000] * scale
        lines.append(" ".join(f"{value:.4f}" for value in joints.ravel()))
    (folder / "joint.txt").write_text("\n".join(lines) + "\n")
