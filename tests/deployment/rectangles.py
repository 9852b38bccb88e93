"""A predictor of crops whose confidence is known, and pictures for it: rectangles stand for hands."""

from dataclasses import dataclass

import numpy as np

from posebridge.cameras.pixel_maps import apply_map
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.image_crops import ImageCrops
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class RectangleFinder:
    """Joints along the sides of the coloured pixels; most confident where these fill two thirds of the crop."""

    skeleton: Skeleton = HAND21
    size_px: int = 64
    least_confidence: float = 0.4

    def predict_crops(self, crops: ImageCrops) -> KeypointSet:
        uv_px, confidence = [], []
        for pixels, T_crop_file in zip(crops.pixels, crops.T_crop_file, strict=True):
            joints, sure = self._found(pixels.astype(int))
            uv_px.append(apply_map(np.linalg.inv(T_crop_file), joints))
            confidence.append(np.full(len(self.skeleton), sure))
        return KeypointSet(np.array(crops.key), self.skeleton.joints, np.array(uv_px), confidence=np.array(confidence))

    def _found(self, pixels: np.ndarray) -> tuple[np.ndarray, float]:
        v, u = np.nonzero(pixels.max(axis=2) > 120)
        along = np.linspace(0, 1, len(self.skeleton))
        if len(u) == 0:
            return 64 * np.stack([along, along], axis=1), 0.05
        low, high = np.array([u.min(), v.min()]), np.array([u.max(), v.max()])
        if low.min() == 0 or high.max() == self.size_px - 1:
            return low + (high - low) * np.stack([along, along], axis=1), 0.1  # cut
        filled = (high - low).max() / self.size_px
        red = (pixels[v, u, 0] > pixels[v, u, 2]).astype(float)
        is_right = (u * red).sum() / max(1, red.sum()) < (u * (1 - red)).sum() / max(1, (1 - red).sum())
        is_one = len(u) > 0.8 * (high - low + 1).prod()
        sure = max(0.1, 1 - 1.5 * abs(filled - 2 / 3)) * (1.0 if is_right else 0.6) * (1.0 if is_one else 0.2)
        return low + (high - low) * np.stack([along, along], axis=1), sure


def picture(*rectangles: tuple[int, int, int, bool], height: int = 240, width: int = 320) -> np.ndarray:
    """Rectangles (x, y, width, right hand) of equal height and width."""
    image = np.full((height, width, 3), 40, np.uint8)
    for x, y, side, right in rectangles:
        colours = [(255, 0, 0), (0, 0, 255)] if right else [(0, 0, 255), (255, 0, 0)]
        image[y : y + side, x : x + side // 2] = colours[0]
        image[y : y + side, x + side // 2 : x + side] = colours[1]
    return image
