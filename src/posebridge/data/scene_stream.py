"""Batches of whole scenes, composed anew for every step."""

from dataclasses import dataclass

import numpy as np
import torch

from posebridge.contracts.scene_batch import NO_SIDE, NO_SUBJECT, SceneBatch
from posebridge.contracts.subjects import SUBJECT_KINDS
from posebridge.data.frames import SIDES
from posebridge.synthesis.whole_scenes import Scene, SceneComposer

# Height and width of the scenes of a batch: common aspects of images, in turn. Sides are multiples of 32.
SHAPES_PX = ((192, 256), (256, 192), (192, 256), (160, 256), (256, 256), (256, 160))


@dataclass(frozen=True)
class SceneStream:
    """Batch n is a function of seed and n."""

    composer: SceneComposer
    batch_size: int
    seed: int
    shapes_px: tuple[tuple[int, int], ...] = SHAPES_PX

    def batch(self, number: int) -> SceneBatch:
        """Batch ``number``."""
        rng = np.random.default_rng([self.seed, number])
        shape = self.shapes_px[number % len(self.shapes_px)]
        scenes = [self.composer.compose(*shape, rng) for _ in range(self.batch_size)]
        return scene_batch(scenes, [f"scene-{self.seed}-{number}-{i}" for i in range(len(scenes))])


def scene_batch(scenes: list[Scene], keys: list[str]) -> SceneBatch:
    """A batch of scenes of one size."""
    places = max(1, max(len(scene.regions) for scene in scenes))
    boxes = torch.zeros(len(scenes), places, 4)
    kind = torch.full((len(scenes), places), NO_SUBJECT)
    side = torch.full((len(scenes), places), NO_SIDE)
    ignored = torch.zeros(len(scenes), places, dtype=torch.bool)
    for i, scene in enumerate(scenes):
        for j, region in enumerate(scene.regions):
            boxes[i, j] = torch.from_numpy(region.box_xyxy)
            kind[i, j], ignored[i, j] = SUBJECT_KINDS.index(region.kind), region.ignored
            if region.kind == "hand":
                side[i, j] = SIDES.index("left" if region.mirrored else "right")
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2).float() / 255
    return SceneBatch(image=images, key=tuple(keys), boxes_xyxy=boxes, kind=kind, side=side, ignored=ignored)
