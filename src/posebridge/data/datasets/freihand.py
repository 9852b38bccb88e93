"""FreiHAND (Zimmermann et al., ICCV 2019) in its release's layout.

``training/rgb/00000000.jpg``, ``training/mask/``, ``training_xyz.json`` (metres), ``training_K.json`` and perhaps
``training_verts.json``; ``evaluation/rgb`` with ``evaluation_K.json`` and, since the challenge closed,
``evaluation_xyz.json``. The 32,560 training samples come in up to four versions that differ in their background:
image n shows sample n modulo 32,560. All hands are right ones; joints are wrist, then thumb to pinky, base to tip.
Without the annotations, the images are an ``ImageFolder(root / split / "rgb")``.
"""

import json
from pathlib import Path
from typing import Literal

import numpy as np

from posebridge.data.datasets.annotations import project
from posebridge.data.datasets.hand_annotations import Part, adaptation_split, check_hand_scale, checked_camera
from posebridge.data.frames import FrameLabels, IndexedFrames, RawFrame, read_image
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.orders import ORDERS, convert

_JOINTS = 21


class FreiHAND(IndexedFrames):
    """One frame an image; key the file's stem, sequence the split, frame the sample's number, view the version."""

    def __init__(
        self,
        root: str | Path,
        split: Literal["training", "evaluation"] = "training",
        versions: tuple[int, ...] = (0, 1, 2, 3),
        vertices: bool = False,
        part: Part = "all",
    ):
        """``versions``: which backgrounds, 0 is the green screen. ``vertices``: load the mesh of each sample. ``part``
        of the images, see ``adaptation_split``; the public benchmark is (0, 3, 2, 1) in this order, and shows the hands
        of its test images in training images with other backgrounds.

        Raises ``InputError`` where annotations are missing, damaged, of a wrong shape or unit or not finite, or no
        image is there.
        """
        root = Path(root)
        self.folder = root / split
        self.split = split
        self.skipped: dict[str, str] = {}
        self._K = _read_array(root / f"{split}_K.json", (3, 3))
        self._xyz = _read_array(root / f"{split}_xyz.json", (_JOINTS, 3))
        self._vertices = _read_array(root / f"{split}_verts.json", (None, 3)) if vertices else None
        for name, array in (("xyz", self._xyz), ("verts", self._vertices)):
            if array is not None and len(array) != len(self._K):
                raise InputError(f"{root}: {split}_{name}.json has {len(array)} samples, {split}_K.json {len(self._K)}")
        samples = [f"sample {sample}" for sample in range(len(self._K))]
        for sample, K in zip(samples, self._K, strict=True):
            checked_camera(K, f"{root / f'{split}_K.json'}: {sample}")
        broken = check_hand_scale(self._xyz, samples, str(root / f"{split}_xyz.json"), "metres")
        self.skipped |= {f"{root / f'{split}_xyz.json'} {samples[i]}": reason for i, reason in broken.items()}
        self._images = [n for n in self._list_images(versions, part) if n % len(self._K) not in broken]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> RawFrame:
        """The frame; raises ``UnreadableFrameError`` where its file is broken."""
        number = self._images[index]
        version, sample = divmod(number, len(self._K))
        image = read_image(self.folder / "rgb" / f"{number:08d}.jpg")
        return RawFrame(image, f"{number:08d}", self.split, sample, version, self._K[sample], hand="right")

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of ``HAND21``; every joint counts as visible, for the release doesn't say."""
        sample = self._images[index] % len(self._K)
        uv_px, valid = convert(project(self._xyz[sample], self._K[sample]), None, ORDERS["freihand"], HAND21)
        joints_m, _ = convert(self._xyz[sample], None, ORDERS["freihand"], HAND21)
        vertices_m = None if self._vertices is None else self._vertices[sample]
        return FrameLabels(uv_px, valid, valid.copy(), joints_m, self._read_mask(sample), vertices_m)

    def _list_images(self, versions: tuple[int, ...], part: Part) -> list[int]:
        """Numbers of the images that are there. A version that is not there at all is no gap."""
        present = {file.stem for file in (self.folder / "rgb").glob("*.jpg")}
        numbers: list[int] = []
        for version in versions:
            of_version = range(version * len(self._K), (version + 1) * len(self._K))
            if any(f"{number:08d}" in present for number in of_version):
                numbers += of_version
        images: list[int] = []
        for number in (numbers[position] for position in adaptation_split(len(numbers), part)):
            if f"{number:08d}" in present:
                images.append(number)
            else:
                self.skipped[str(self.folder / "rgb" / f"{number:08d}.jpg")] = "the file is missing"
        if not images:
            raise InputError(f"{self.folder / 'rgb'}: no image 00000000.jpg and so on of versions {versions} is there")
        return images

    def _read_mask(self, sample: int) -> np.ndarray | None:
        file = self.folder / "mask" / f"{sample:08d}.jpg"
        return read_image(file)[..., 0] > 127 if file.is_file() else None


def _read_array(path: Path, shape: tuple[int | None, int]) -> np.ndarray:
    """(N, *shape) from a JSON list of N matrices; None admits any number of rows, the same for all."""
    try:
        rows = json.loads(path.read_bytes())
        array = np.array(rows, dtype=np.float64)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; without labels, open the folder of images instead") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 3 or any(want not in (None, have) for want, have in zip(shape, array.shape[1:], strict=True)):
        rows_wanted = "V" if shape[0] is None else shape[0]
        raise InputError(f"{path}: expected a list of {rows_wanted} x {shape[1]} matrices of numbers")
    if not np.isfinite(array).all():
        raise InputError(f"{path}: sample {np.argwhere(~np.isfinite(array))[0, 0]} is not finite")
    return array
