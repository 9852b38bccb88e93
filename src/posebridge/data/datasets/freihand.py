"""FreiHAND (Zimmermann et al., ICCV 2019) in its release's layout.

``training/rgb/00000000.jpg``, ``training/mask/``, ``training_xyz.json`` (metres), ``training_K.json`` and perhaps
``training_verts.json``; ``evaluation/rgb`` with ``evaluation_K.json`` and, since the challenge closed,
``evaluation_xyz.json``. The 32,560 training samples come in up to four versions that differ in their background:
image n shows sample n modulo 32,560. All hands are right ones; joints are wrist, then thumb to pinky, base to tip.
Without the annotations, the images are an ``ImageFolder(root / split / "rgb")``.
"""

from pathlib import Path

import numpy as np

from posebridge.data.datasets.annotations import project, read_json
from posebridge.data.datasets.hand_annotations import AnySplit, adaptation_split, checked_camera
from posebridge.data.datasets.options import Split
from posebridge.data.frames import FrameLabels, IndexedFrames, RawFrame
from posebridge.data.image_file import read_image
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.orders import ORDERS, convert
from posebridge.skeletons.plausible_lengths import check_unit, size_problems

_JOINTS = 21
_FOLDERS: dict[Split, str] = {"train": "training", "test": "evaluation"}
_BENCHMARK_VERSIONS = (0, 3, 2, 1)


class FreiHAND(IndexedFrames):
    """One frame an image; key the file's stem, sequence the folder, frame the sample's number, view the version."""

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        versions: tuple[int, ...] | None = None,
        vertices: bool = False,
        masks: bool = True,
        benchmark_split: bool = False,
    ):
        """``split``: "train" is the release's ``training``, "test" its ``evaluation``.

        With ``benchmark_split``, both are cut from the training images, see ``adaptation_split``: the split of RegDA
        and its successors. Most hands of its test images are in its training images, before other backgrounds.
        ``versions``: which backgrounds, 0 is the green screen; None takes all, in the benchmark's order for its split.
        ``vertices``: load the vertices of each sample. ``masks``: load the masks with the labels.
        Raises ``InputError`` where annotations are missing, damaged, of a wrong shape or unit or not finite, or no
        image is there.
        """
        root = Path(root)
        name = _FOLDERS["train" if benchmark_split else split]
        self.folder = root / name
        self.masks = masks
        self.skipped: dict[str, str] = {}
        self._K = _read_array(root / f"{name}_K.json", (3, 3))
        self._xyz = _read_array(root / f"{name}_xyz.json", (_JOINTS, 3))
        self._vertices = _read_array(root / f"{name}_verts.json", (None, 3)) if vertices else None
        for kind, array in (("xyz", self._xyz), ("verts", self._vertices)):
            if array is not None and len(array) != len(self._K):
                raise InputError(f"{root}: {name}_{kind}.json has {len(array)} samples, {name}_K.json {len(self._K)}")
        samples = [f"sample {sample}" for sample in range(len(self._K))]
        for sample, K in zip(samples, self._K, strict=True):
            checked_camera(K, f"{root / f'{name}_K.json'}: {sample}")
        check_unit(self._xyz, "hand", f"{root / f'{name}_xyz.json'}: hands", "metres")
        broken = size_problems(self._xyz, "hand")
        self.skipped |= {f"{root / f'{name}_xyz.json'} {samples[i]}": reason for i, reason in broken.items()}
        if versions is None:
            versions = _BENCHMARK_VERSIONS if benchmark_split else (0, 1, 2, 3)
        listed = self._list_images(versions, split if benchmark_split else "all")
        self._images = [number for number in listed if number % len(self._K) not in broken]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken."""
        number = self._images[index]
        version, sample = divmod(number, len(self._K))
        image = read_image(self.folder / "rgb" / f"{number:08d}.jpg")
        return RawFrame(image, f"{number:08d}", self.folder.name, sample, version, self._K[sample], hand="right")

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of ``HAND21``. Every joint counts as visible; the release doesn't mark hidden ones."""
        sample = self._images[index] % len(self._K)
        uv_px, valid = convert(project(self._xyz[sample], self._K[sample]), None, ORDERS["freihand"], HAND21)
        joints_m, _ = convert(self._xyz[sample], None, ORDERS["freihand"], HAND21)
        vertices_m = None if self._vertices is None else self._vertices[sample]
        mask = self._read_mask(sample) if self.masks else None
        return FrameLabels(uv_px, valid, valid.copy(), joints_m, mask, vertices_m)

    def _list_images(self, versions: tuple[int, ...], split: AnySplit) -> list[int]:
        """Numbers of the images that are there. A version that is not there at all is no gap."""
        present = {file.stem for file in (self.folder / "rgb").glob("*.jpg")}
        numbers: list[int] = []
        for version in versions:
            of_version = range(version * len(self._K), (version + 1) * len(self._K))
            if any(f"{number:08d}" in present for number in of_version):
                numbers += of_version
        images: list[int] = []
        for number in (numbers[position] for position in adaptation_split(len(numbers), split)):
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
        array = np.array(read_json(path), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    if array.ndim != 3 or any(want not in (None, have) for want, have in zip(shape, array.shape[1:], strict=True)):
        rows_wanted = "V" if shape[0] is None else shape[0]
        raise InputError(f"{path}: expected a list of {rows_wanted} x {shape[1]} matrices of numbers")
    if not np.isfinite(array).all():
        raise InputError(f"{path}: sample {np.argwhere(~np.isfinite(array))[0, 0]} is not finite")
    return array
