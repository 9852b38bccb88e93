"""Sets of views of depth hands, and points of a view in the world."""

from dataclasses import replace

import numpy as np
import torch

from posebridge.contracts.batch import LabelledBatch
from posebridge.synthesis.depth_clutter import ClutterDistribution
from posebridge.synthesis.depth_scene import DEPTH_STREET, DepthHandDomain, render_depth_hands
from posebridge.synthesis.depth_sensor import CLEAN

SIZE, SETS, VIEWS = 64, 8, 3
CLUTTERED = replace(DEPTH_STREET, sensor=CLEAN, clutter=ClutterDistribution(background_share=0.7, occluder_share=0.7))


def render(domain: DepthHandDomain, sets: int = SETS, seed: int = 0) -> LabelledBatch:
    return render_depth_hands(domain, sets, SIZE, torch.Generator().manual_seed(seed))


def to_world(batch: LabelledBatch, points_m: np.ndarray, i: int) -> np.ndarray:
    """Points (N, 3) in the camera of sample ``i``, in world coordinates."""
    T = batch.T_world_cam[i].double().numpy()
    return points_m @ T[:3, :3].T + T[:3, 3]
