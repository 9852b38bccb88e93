"""A detection problem that trains in seconds: coins, red on their right half and green on the left one."""

from dataclasses import replace

import numpy as np

from posebridge.contracts.scene_batch import SceneBatch
from posebridge.data.scene_stream import scene_batch
from posebridge.networks.detector import DetectorConfig, DetectorNetwork
from posebridge.rendering.photometry import OFF
from posebridge.synthesis.cutouts import Cutout
from posebridge.synthesis.whole_scenes import PlacementDistribution, Scene, SceneComposer, SceneDistribution
from posebridge.training.detector_training import DetectorTraining, DetectorTrainingConfig
from posebridge.training.optimisers import Schedule

SMALL = DetectorConfig(widths=(8, 16, 16, 16, 16), blocks=(0, 0, 0, 1, 0), head_width=16)
CONFIG = DetectorTrainingConfig(
    schedule=Schedule(steps=3, learning_rate=1e-2, decay="none"),
    appearance=OFF,
    average_decay=0.9,
)


def coin(side: int = 41) -> Cutout:
    y, x = np.mgrid[:side, :side]
    middle = (side - 1) / 2
    rgba = np.zeros((side, side, 4), np.uint8)
    inside = (x - middle) ** 2 + (y - middle) ** 2 <= middle**2
    rgba[inside & (x > middle)] = (230, 20, 20, 255)
    rgba[inside & (x <= middle)] = (20, 230, 20, 255)
    angles = np.linspace(0, 2 * np.pi, 21)[:, None]
    uv = middle + middle * np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    return Cutout(rgba, uv.astype(np.float32), "hand")


def coin_scenes(count: int, seed: int = 0) -> list[Scene]:
    """Scenes of 64 x 96 pixels with at most two coins."""
    hands = PlacementDistribution(number=(0.2, 0.5, 0.3), size_frac=(0.25, 0.6), roll_deg=10.0)
    none = PlacementDistribution(number=(1.0,), size_frac=(0.1, 0.2), roll_deg=0.0)
    distribution = SceneDistribution(hands, none, clutter_share=0.0, occluded_share=0.0)
    composer = SceneComposer(distribution, [coin()], [])
    return [composer.compose(64, 96, np.random.default_rng([seed, i])) for i in range(count)]


class FewScenes:
    """A stream that repeats the same scenes."""

    def __init__(self, scenes: list[Scene]):
        self.scenes = scenes

    def batch(self, number: int) -> SceneBatch:
        return scene_batch(self.scenes, [f"{i}" for i in range(len(self.scenes))])


def detector_stage(scenes: list[Scene], **changes) -> DetectorTraining:
    return DetectorTraining(replace(CONFIG, **changes), FewScenes(scenes), DetectorNetwork(SMALL), seed=1)
