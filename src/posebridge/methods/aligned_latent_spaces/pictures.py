"""Pictures of clouds and poses in space, seen along the optical axis of their view."""

import numpy as np
from jaxtyping import Float, UInt8

from posebridge.contracts.section import Picture, PoseOverlay

SIDE = 160  # px
_REACH = 1.7  # bones from the middle of a picture to its edge
_GROUND = 245  # grey value
_RADIUS = 1  # px of a point
_NEAR_RGB, _FAR_RGB = np.array([215, 48, 39]), np.array([49, 84, 180])


def pixels_of(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 2"]:
    """Pixels of points in bones about the middle of a picture, by a parallel projection."""
    return (SIDE - 1) / 2 + points[:, :2] * (SIDE / (2 * _REACH))


def pose_picture(
    caption: str, predicted: Float[np.ndarray, "J 3"], truth: Float[np.ndarray, "J 3"] | None = None
) -> Picture:
    """Poses on an empty ground."""
    ground = np.full((SIDE, SIDE, 3), _GROUND, dtype=np.uint8)
    overlays = [PoseOverlay("predicted", pixels_of(predicted))]
    if truth is not None:
        overlays.append(PoseOverlay("truth", pixels_of(truth)))
    return Picture(ground, caption, tuple(overlays))


def cloud_picture(caption: str, points: Float[np.ndarray, "N 3"]) -> Picture:
    """A cloud; near points are red, far ones blue, as in Fig. 5.3."""
    return Picture(draw_cloud(points), caption, lossless=True)


def draw_cloud(points: Float[np.ndarray, "N 3"]) -> UInt8[np.ndarray, "S S 3"]:
    """Points in bones about the middle, the nearest ones over the others; points outside the picture are left out."""
    picture = np.full((SIDE, SIDE, 3), _GROUND, dtype=np.uint8)
    z = points[:, 2]
    far = (z - z.min()) / max(float(np.ptp(z)), 1e-6)
    colours = (_NEAR_RGB + far[:, None] * (_FAR_RGB - _NEAR_RGB)).round().astype(np.uint8)
    for i in np.argsort(-z, kind="stable"):
        u, v = pixels_of(points[i : i + 1])[0].round().astype(int)
        if 0 <= u < SIDE and 0 <= v < SIDE:
            picture[max(0, v - _RADIUS) : v + _RADIUS + 1, max(0, u - _RADIUS) : u + _RADIUS + 1] = colours[i]
    return picture
