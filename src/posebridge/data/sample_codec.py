"""A labelled sample as the members of a webdataset shard, and back.

A sample is up to six members that share its key: ``rgb.png`` or ``rgb.jpg`` (8 bit), ``depth.png`` (16 bit, in units of
``ImageCoding.depth_unit_mm``; 0 where there is none), ``mask.png`` and ``hand_mask.png`` (0 and 255; the second for
hands only, without their forearms), ``vertices_m.npy`` and ``json``, with everything else. Depth beside a colour image
is a label; alone it is what a depth sensor measured. Numbers in the JSON are read back as the same 32-bit floats; null
is not-a-number.

Its last entry, ``crc32``, covers the other members in the order above and the JSON up to there, so that one flipped
byte is found with nothing but the sample itself.
"""

import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.image_formats import open_image
from posebridge.data.frames import UnreadableFrameError
from posebridge.errors import InputError
from posebridge.npz_files import load_npy

ImageFormat = Literal["png", "jpg"]
LABELS = "json"
_RGB, _DEPTH, _VERTICES = ("rgb.png", "rgb.jpg"), "depth.png", "vertices_m.npy"
_MASKS = {"mask": "mask.png", "hand_mask": "hand_mask.png"}
_IMAGES = (*_RGB, _DEPTH, *_MASKS.values(), _VERTICES)
_CRC = b', "crc32": "'
_BOOLEANS, _WHOLE, _TEXTS = ("valid", "visible"), ("frame", "view"), ("sequence",)
_FLOATS = ("T_crop_file", "T_world_cam", "centre_m", "uv_px", "joints_m", "angles_rad", "phenotypes")
_DEPTH_LEVELS = 65535
_PNG_EFFORT = 4  # half the time of the usual 6, for one per cent of the size
# For members with a correct checksum that this module did not write.
_FOREIGN = (OSError, SyntaxError, ValueError, KeyError, TypeError, AttributeError, AssertionError)


@dataclass(frozen=True)
class ImageCoding:
    """How pixels are written."""

    image: ImageFormat = "png"
    quality: int = 95  # of JPEG
    depth_unit_mm: float = 0.1  # 16 bit reach 65,535 units: 6.55 m

    def __post_init__(self):
        if self.image not in ("png", "jpg"):
            raise InputError(f"images can't be written as {self.image}: choose png or jpg")
        if not 1 <= self.quality <= 100:
            raise InputError(f"JPEG quality {self.quality} is impossible: give 1 to 100")
        if not 0 < self.depth_unit_mm < float("inf"):
            raise InputError(f"a depth unit of {self.depth_unit_mm:g} mm is impossible: give a length such as 0.1")


def encode_sample(sample: LabelledBatch, number: int, coding: ImageCoding) -> dict[str, bytes]:
    """The members of a batch of one, by suffix, in the order in which they are written.

    ``number`` is its place in the set. Images are rounded to 8 bit, depth to whole units, but never to 0 where there
    was any: it is off by half a unit at most, and by less than one where it is smaller than that. Raises
    ``InputError`` where depth doesn't fit 16 bit.
    """
    members: dict[str, bytes] = {}
    if sample.image is not None:
        pixels = (sample.image[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        members[f"rgb.{coding.image}"] = _compressed(Image.fromarray(pixels), coding)
    depth_m = sample.depth_label_m if sample.depth_m is None else sample.depth_m
    if depth_m is not None:
        members[_DEPTH] = _compressed(Image.fromarray(_units(depth_m[0], sample.key[0], coding)))
    for name, suffix in _MASKS.items():
        if (mask := getattr(sample, name)) is not None:
            members[suffix] = _compressed(Image.fromarray(mask[0].numpy().astype(np.uint8) * 255))
    if sample.vertices_m is not None:
        file = io.BytesIO()
        np.save(file, sample.vertices_m[0].numpy())
        members[_VERTICES] = file.getvalue()
    members[LABELS] = _sealed(_labels(sample, number), members)
    return members


def decode_sample(members: Mapping[str, bytes], coding: ImageCoding, file: str = "sample") -> tuple[int, LabelledBatch]:
    """The number of a sample and the batch of one that it was written from.

    Raises ``UnreadableFrameError``, naming ``file``, for members that are damaged or missing.
    """
    labels = _unsealed(members, file)
    try:
        values: dict[str, Any] = {name: _tensor(labels.get(name), torch.float32) for name in _FLOATS}
        values |= {name: _tensor(labels.get(name), torch.bool) for name in _BOOLEANS}
        values |= {name: _tensor(labels.get(name), torch.int64) for name in _WHOLE}
        values |= {name: (labels[name],) for name in _TEXTS if name in labels}
        if "camera" in labels:
            K, distortion = (_tensor(labels["camera"].get(name), torch.float32) for name in ("K", "distortion"))
            assert K is not None
            values["camera"] = Camera(K, distortion)
        values |= _pixels(members, coding)
        return labels["number"], LabelledBatch(**{"image": None, **values}, key=(labels["key"],))
    except _FOREIGN as error:
        raise UnreadableFrameError(file, f"not a sample of this format: {error}") from None


def number_of(members: Mapping[str, bytes], file: str = "sample") -> int:
    """The place of a sample in its set. Raises ``UnreadableFrameError`` for one that is damaged or foreign."""
    number = _unsealed(members, file).get("number")
    if not isinstance(number, int):
        raise UnreadableFrameError(file, "not a sample of this format: it has no number")
    return number


def _units(depth_m: Tensor, key: str, coding: ImageCoding) -> np.ndarray:
    units = (depth_m.double() * (1000 / coding.depth_unit_mm)).round()
    units = torch.where(depth_m > 0, units.clamp_min(1), units)
    if not ((units >= 0) & (units <= _DEPTH_LEVELS)).all():
        reach_m = _DEPTH_LEVELS * coding.depth_unit_mm / 1000
        raise InputError(
            f"{key}: depth from {depth_m.min():g} to {depth_m.max():g} m doesn't fit 16 bit in units of "
            f"{coding.depth_unit_mm:g} mm, which reach {reach_m:.2f} m: give a larger depth unit"
        )
    return units.numpy().astype(np.uint16)


def _compressed(image: Image.Image, coding: ImageCoding | None = None) -> bytes:
    """As PNG, without loss; as JPEG only if ``coding`` sets it."""
    file = io.BytesIO()
    if coding is not None and coding.image == "jpg":
        image.save(file, "JPEG", quality=coding.quality)
    else:
        image.save(file, "PNG", compress_level=_PNG_EFFORT)
    return file.getvalue()


def _labels(sample: LabelledBatch, number: int) -> dict[str, Any]:
    labels: dict[str, Any] = {"key": sample.key[0], "number": number}
    for f in fields(sample):
        value = getattr(sample, f.name)
        if isinstance(value, Camera):
            labels[f.name] = {"K": _numbers(value.K[0])}
            if value.distortion is not None:
                labels[f.name]["distortion"] = _numbers(value.distortion[0])
        elif f.name in _TEXTS and value is not None:
            labels[f.name] = value[0]
        elif f.name in (*_FLOATS, *_BOOLEANS, *_WHOLE) and value is not None:
            labels[f.name] = _numbers(value[0])
    return labels


def _numbers(value: Tensor) -> Any:
    return _shortened(value.tolist())


def _shortened(value: Any) -> Any:
    """Nine digits identify every 32-bit float, and are half of what a double takes."""
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if isinstance(value, float):
        return None if value != value else float(f"{value:.9g}")
    return value


def _sealed(labels: dict[str, Any], others: Mapping[str, bytes]) -> bytes:
    text = json.dumps(labels, allow_nan=False).encode()[:-1]
    return text + _CRC + _checksum(text, others) + b'"}'


def _unsealed(members: Mapping[str, bytes], file: str) -> dict[str, Any]:
    if LABELS not in members:
        raise UnreadableFrameError(file, "its labels (json) are missing")
    text, _, crc = members[LABELS].rpartition(_CRC)
    others = {suffix: members[suffix] for suffix in _IMAGES if suffix in members}
    if crc != _checksum(text, others) + b'"}':
        raise UnreadableFrameError(file, "damaged: its checksum differs")
    labels = json.loads(members[LABELS])
    if not isinstance(labels, dict):
        raise UnreadableFrameError(file, "not a sample of this format: its labels are no object")
    return labels


def _checksum(text: bytes, others: Mapping[str, bytes]) -> bytes:
    value = 0
    for data in (*others.values(), text):
        value = zlib.crc32(data, value)
    return f"{value:08x}".encode()


def _tensor(value: Any, dtype: torch.dtype) -> Tensor | None:
    """A batch of one from JSON."""
    if value is None:
        return None
    array = np.array(value, dtype=np.float64 if dtype == torch.float32 else None)  # null becomes not-a-number
    return torch.from_numpy(array)[None].to(dtype)


def _pixels(members: Mapping[str, bytes], coding: ImageCoding) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for suffix in _RGB:
        if suffix in members:
            image = torch.from_numpy(_array(members[suffix])).permute(2, 0, 1)[None]
            found["image"] = image.float() / 255
    if _DEPTH in members:
        depth_mm = _array(members[_DEPTH]).astype(np.float64) * coding.depth_unit_mm
        name = "depth_label_m" if "image" in found else "depth_m"
        found[name] = torch.from_numpy((depth_mm / 1000).astype(np.float32))[None]
    for name, suffix in _MASKS.items():
        if suffix in members:
            found[name] = torch.from_numpy(_array(members[suffix]) > 0)[None]
    if _VERTICES in members:
        vertices_m = load_npy(io.BytesIO(members[_VERTICES]))
        found["vertices_m"] = torch.from_numpy(vertices_m)[None]
    return found


def _array(data: bytes) -> np.ndarray:
    with open_image(io.BytesIO(data)) as image:
        return np.array(image)
