"""Whole scenes for detectors: cut-outs of hands and people at random places over painted backgrounds.

A scene costs a few milliseconds, because its subjects are rendered once and then only warped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from posebridge.cameras.pixel_maps import apply_map, full_image_box
from posebridge.contracts.subjects import SubjectKind
from posebridge.geometry.boxes import JOINT_BOX_PADDING, joint_box
from posebridge.skeletons.body import H36M17
from posebridge.synthesis.backgrounds import painted_tiles
from posebridge.synthesis.cutouts import Cutout

_HAND_BEYOND_WRIST = 0.45  # a person's hand: its centre beyond the wrist, as a fraction of the forearm
_HAND_REACH = 0.6  # and half the side of the square around it


@dataclass(frozen=True)
class PlacementDistribution:
    """How subjects of one kind are placed. Sizes are larger sides of boxes over the image's larger side."""

    number: tuple[float, ...]  # weights of 0, 1, 2, ... subjects
    size_frac: tuple[float, float]  # log-uniform
    roll_deg: float  # standard deviation of the rotation in the image
    any_roll_share: float = 0.0  # fraction with a uniformly random rotation
    least_visible_frac: float = 0.5  # of its joints, below which a subject is ignored


@dataclass(frozen=True)
class SceneDistribution:
    """Distribution of whole scenes."""

    hands: PlacementDistribution = field(
        default_factory=lambda: PlacementDistribution(
            number=(0.25, 0.4, 0.25, 0.07, 0.03), size_frac=(0.06, 1.4), roll_deg=50.0, any_roll_share=0.2
        )
    )
    people: PlacementDistribution = field(
        default_factory=lambda: PlacementDistribution(
            # People larger than the image show faces and clothes closely, where no hand may be detected.
            number=(0.4, 0.35, 0.15, 0.1),
            size_frac=(0.1, 3.0),
            roll_deg=8.0,
            least_visible_frac=0.3,
        )
    )
    clutter_share: float = 0.92  # fraction of backgrounds with clutter; the rest are plain walls
    shapes: int = 24  # largest number of sharp shapes on a background, so that sharpness doesn't mark a subject
    least_box_px: float = 12.0  # smaller subjects are ignored
    occluded_share: float = 0.15  # fraction of subjects with a patch of clutter in front of them
    gain: float = 0.15  # standard deviation of the log brightness of each subject


@dataclass(frozen=True)
class Region:
    """The region of a subject in a scene."""

    box_xyxy: Float[np.ndarray, "4"]  # pixels of the scene
    kind: SubjectKind
    mirrored: bool  # whether a right hand was mirrored to a left one
    ignored: bool  # neither subject nor background for its kind


@dataclass(frozen=True)
class Scene:
    """A whole image and the regions of its subjects."""

    image: UInt8[np.ndarray, "H W 3"]  # sRGB
    regions: tuple[Region, ...]


@dataclass
class _Pasted:
    """A subject on the canvas."""

    number: int
    kind: SubjectKind
    uv_px: np.ndarray
    mirrored: bool


class SceneComposer:
    """Composes scenes from given cut-outs."""

    def __init__(self, distribution: SceneDistribution, hands: Sequence[Cutout], people: Sequence[Cutout]):
        self.distribution = distribution
        self.cutouts: dict[SubjectKind, Sequence[Cutout]] = {"hand": hands, "person": people}

    def compose(self, height_px: int, width_px: int, rng: np.random.Generator) -> Scene:
        """Sample a scene. People stand behind hands."""
        canvas = self._background(height_px, width_px, rng)
        owner = np.zeros(canvas.shape[:2], np.int16)  # number of the subject that each pixel shows, 0 for none
        pasted: list[_Pasted] = []
        placements: tuple[tuple[SubjectKind, PlacementDistribution], ...] = (
            ("person", self.distribution.people),
            ("hand", self.distribution.hands),
        )
        for kind, placement in placements:
            weights = np.array(placement.number) / sum(placement.number)
            for _ in range(rng.choice(len(weights), p=weights) if self.cutouts[kind] else 0):
                subject = self._paste(canvas, owner, kind, placement, len(pasted) + 1, rng)
                pasted.append(subject)
                if rng.random() < self.distribution.occluded_share:
                    clutter = self._background(height_px, width_px, rng)
                    _occlude(canvas, owner, subject.uv_px, clutter, rng)
        regions = [region for subject in pasted if (region := self._region(subject, owner)) is not None]
        for subject in pasted:
            if subject.kind == "person":
                regions += _hands_of_person(subject.uv_px)
        return Scene(canvas, tuple(regions))

    def _background(self, height_px: int, width_px: int, rng: np.random.Generator) -> np.ndarray:
        """A plain wall, or a piece of a painted tile under sharp shapes; (H, W, 3) uint8."""
        tint = np.exp(rng.normal(0, 0.12, 3)) * rng.uniform(0.3, 1.2)
        if rng.random() > self.distribution.clutter_share:
            corners = (1 + rng.normal(0, 0.12, (2, 2, 1))) * 200 * tint
            wall = cv2.resize(corners.astype(np.float32), (width_px, height_px), interpolation=cv2.INTER_LINEAR)
            return wall.clip(0, 255).astype(np.uint8)
        tiles = _tiles()
        tile = tiles[rng.integers(len(tiles))]
        scale = max(height_px, width_px) / tile.shape[0] * np.exp(rng.uniform(*np.log((0.6, 3.0))))
        T = np.diag([*(scale * np.exp(rng.uniform(-0.3, 0.3, 2)) * rng.choice([-1.0, 1.0], 2)), 1.0])
        T[:2, 2] = rng.uniform(-1.0, 1.0, 2) * scale * tile.shape[0]
        size = (width_px, height_px)
        canvas = cv2.warpAffine(tile, T[:2], size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        canvas = (canvas * tint.astype(np.float32)).clip(0, 255).astype(np.uint8)
        for _ in range(rng.integers(self.distribution.shapes + 1)):
            _draw_shape(canvas, tiles[rng.integers(len(tiles))], rng)
        return canvas

    def _paste(
        self,
        canvas: np.ndarray,
        owner: np.ndarray,
        kind: SubjectKind,
        placement: PlacementDistribution,
        number: int,
        rng: np.random.Generator,
    ) -> _Pasted:
        chosen = self.cutouts[kind][int(rng.integers(len(self.cutouts[kind])))]
        mirrored = bool(rng.random() < 0.5)
        T_scene_cutout = self._placed(chosen, placement, mirrored, canvas.shape, rng)
        gain = float(np.exp(rng.normal(0, self.distribution.gain)))
        paste(canvas, owner, chosen.rgba, T_scene_cutout, number, gain)
        return _Pasted(number, kind, apply_map(T_scene_cutout, chosen.uv_px), mirrored)

    def _placed(
        self,
        chosen: Cutout,
        placement: PlacementDistribution,
        mirrored: bool,
        shape: tuple[int, ...],
        rng: np.random.Generator,
    ) -> np.ndarray:
        """T_scene_cutout of a random place, size and rotation."""
        roll = rng.normal(0, np.deg2rad(placement.roll_deg))
        if rng.random() < placement.any_roll_share:
            roll = rng.uniform(-np.pi, np.pi)
        turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        turn = turn @ np.diag([-1.0 if mirrored else 1.0, 1.0])
        uv = chosen.uv_px @ turn.T
        low, high = uv.min(axis=0), uv.max(axis=0)
        side = max(shape[:2]) * np.exp(rng.uniform(*np.log(placement.size_frac)))
        scale = side / JOINT_BOX_PADDING / max(1.0, float((high - low).max()))
        size = np.array([shape[1], shape[0]])
        # Small subjects lie anywhere, large ones anywhere that leaves a part of them in the image.
        reach = np.maximum(size, 0.75 * side) / 2
        centre = (size - 1) / 2 + reach * rng.uniform(-1.0, 1.0, 2)
        T = np.eye(3)
        T[:2, :2] = scale * turn
        T[:2, 2] = centre - scale * (low + high) / 2
        return T

    def _region(self, subject: _Pasted, owner: np.ndarray) -> Region | None:
        """The region of a subject; None where none of its joints lies in the image."""
        height, width = owner.shape
        uv = subject.uv_px
        inside = (uv >= -0.5).all(axis=1) & (uv < [width - 0.5, height - 0.5]).all(axis=1)
        if not inside.any():
            return None
        pixel = np.round(uv[inside]).astype(int).clip(0, [width - 1, height - 1])
        visible_frac = (owner[pixel[:, 1], pixel[:, 0]] == subject.number).sum() / len(uv)
        box = joint_box(uv[inside], JOINT_BOX_PADDING)
        placement = self.distribution.hands if subject.kind == "hand" else self.distribution.people
        small = (box[2:] - box[:2]).max() < self.distribution.least_box_px
        ignored = bool(small or visible_frac < placement.least_visible_frac)
        return Region(box, subject.kind, subject.mirrored, ignored)


def paste(
    canvas: UInt8[np.ndarray, "H W 3"],
    owner: np.ndarray,
    rgba: UInt8[np.ndarray, "h w 4"],
    T_scene_cutout: Float[np.ndarray, "3 3"],
    number: int,
    gain: float = 1.0,
) -> None:
    """Draw a cut-out into the canvas in place; where it covers more than half of a pixel, ``owner`` gets ``number``."""
    shrink = 1 / np.sqrt(abs(np.linalg.det(T_scene_cutout[:2, :2])))
    if (factor := int(shrink)) > 1:  # means of blocks first, so that small subjects aren't aliased
        height, width = (max(1, side // factor) for side in rgba.shape[:2])
        scale = np.array([width / rgba.shape[1], height / rgba.shape[0]])
        rgba = cv2.resize(rgba, (width, height), interpolation=cv2.INTER_AREA)
        T_file_small = np.diag([*(1 / scale), 1.0])
        T_file_small[:2, 2] = (1 / scale - 1) / 2
        T_scene_cutout = T_scene_cutout @ T_file_small
    corners = full_image_box(rgba.shape[1], rgba.shape[0])[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)
    places = apply_map(T_scene_cutout, corners)
    height, width = canvas.shape[:2]
    x0, y0 = np.floor(places.min(axis=0)).astype(int).clip(0, [width, height])
    x1, y1 = (np.ceil(places.max(axis=0)).astype(int) + 1).clip(0, [width, height])
    if x0 >= x1 or y0 >= y1:
        return
    T = T_scene_cutout.copy()
    T[:2, 2] -= x0, y0
    warped = cv2.warpAffine(rgba, T[:2], (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR).astype(np.float32)
    alpha = warped[..., 3:]
    part = canvas[y0:y1, x0:x1]
    part[:] = (part * (1 - alpha / 255) + np.minimum(gain * warped[..., :3], alpha)).clip(0, 255)
    owner[y0:y1, x0:x1][alpha[..., 0] > 127] = number


@lru_cache(maxsize=1)
def _tiles() -> UInt8[np.ndarray, "N T T 3"]:
    """The painted tiles as bytes."""
    return (painted_tiles() * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def _draw_shape(canvas: np.ndarray, tile: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a line, polygon or ellipse of a tile's colour or texture, in place, as large as a subject may be."""
    height, width = canvas.shape[:2]
    size = max(height, width) * np.exp(rng.uniform(*np.log((0.02, 0.5))))
    centre = rng.uniform(0, 1, 2) * [width, height]
    colour = tuple(int(value) for value in tile[tuple(rng.integers(0, len(tile), 2))])
    drawn = canvas if rng.random() < 0.7 else np.zeros((height, width, 1), np.uint8)
    if drawn is not canvas:
        colour = (255,)
    match rng.integers(3):
        case 0:
            ends = np.round(centre + rng.uniform(-size, size, (2, 2))).astype(int)
            cv2.line(drawn, ends[0].tolist(), ends[1].tolist(), colour, int(rng.integers(1, 8)), cv2.LINE_AA)
        case 1:
            corners = centre + rng.uniform(-size, size, (int(rng.integers(3, 7)), 2)) / 2
            hull = cv2.convexHull(np.round(corners).astype(np.int32))
            cv2.fillConvexPoly(drawn, hull, colour, cv2.LINE_AA)
        case _:
            axes = np.ceil(size / 2 * rng.uniform(0.2, 1.0, 2)).astype(int)
            place = np.round(centre).astype(int)
            cv2.ellipse(drawn, place.tolist(), axes.tolist(), rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    if drawn is not canvas:
        texture = cv2.resize(tile, (width, height), interpolation=cv2.INTER_LINEAR)
        cv2.copyTo(texture, drawn, canvas)


def _occlude(
    canvas: np.ndarray, owner: np.ndarray, uv_px: np.ndarray, clutter: np.ndarray, rng: np.random.Generator
) -> None:
    """Cover a box or ellipse near a random joint with clutter, in place."""
    joint = uv_px[rng.integers(len(uv_px))]
    extent = float((uv_px.max(axis=0) - uv_px.min(axis=0)).max())
    half = extent * rng.uniform(0.08, 0.3, 2)
    centre = joint + half * rng.uniform(-1.0, 1.0, 2)
    height, width = owner.shape
    x0, y0 = np.floor(centre - half).astype(int).clip(0, [width, height])
    x1, y1 = np.ceil(centre + half).astype(int).clip(0, [width, height])
    if x0 >= x1 or y0 >= y1:
        return
    y, x = np.mgrid[y0:y1, x0:x1]
    covered = np.ones(x.shape, bool)
    if rng.random() < 0.5:
        covered = ((x - centre[0]) / half[0]) ** 2 + ((y - centre[1]) / half[1]) ** 2 < 1
    canvas[y0:y1, x0:x1][covered] = clutter[y0:y1, x0:x1][covered]
    owner[y0:y1, x0:x1][covered] = 0


def _hands_of_person(uv_px: Float[np.ndarray, "17 2"]) -> list[Region]:
    """Ignored regions at the hands of a person: the skeleton of people has no joints there."""
    regions = []
    for side in ("left", "right"):
        elbow, wrist = (uv_px[H36M17.joints.index(f"{side}_{joint}")] for joint in ("elbow", "wrist"))
        forearm = wrist - elbow
        # A forearm that points at the camera is short in the image; a fifth of the person bounds it from below.
        length = max(float(np.linalg.norm(forearm)), 0.1 * float(np.ptp(uv_px, axis=0).max()))
        centre = wrist + _HAND_BEYOND_WRIST * forearm
        box = np.concatenate([centre - _HAND_REACH * length, centre + _HAND_REACH * length])
        regions.append(Region(box, "hand", mirrored=False, ignored=True))
    return regions
