"""Pose models as ONNX files, predicted by ONNX Runtime. Imports neither torch nor Lightning.

A file's graph takes crops and returns keypoints in pixels of the frames that they were cut from, and in millimetres.
``metadata_props`` describes it under the key ``posebridge``, as JSON.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.plain import from_plain
from posebridge.errors import InputError, first_line
from posebridge.regular_files import read_file

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

METADATA = "posebridge"
FORMAT = 1
CROP_INPUTS = ("image", "T_crop_file", "K")
OUTPUTS = ("uv_px", "confidence", "xyz_mm")


@dataclass(frozen=True)
class OnnxDescription:
    """What the metadata of a file holds."""

    skeleton: str
    joint_names: tuple[str, ...]
    size_px: int  # side of the square crops
    in_mm: bool  # whether the graph returns xyz_mm
    format: int = FORMAT

    def to_json(self) -> str:
        """The text of the metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "OnnxDescription":
        """Raises ``ValueError``, ``TypeError`` or ``KeyError`` for another text."""
        return from_plain(cls, json.loads(text))


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file of ``posebridge export``, loaded."""

    path: Path
    description: OnnxDescription
    session: "InferenceSession"

    @classmethod
    def load(cls, path: Path, threads: int | None = None) -> "OnnxModel":
        """Load a file. ``threads``: of the runtime, those of the machine by default.

        Raises ``InputError`` for a missing or damaged file, for one that posebridge did not write, and without ONNX
        Runtime.
        """
        try:
            import onnxruntime
        except ImportError:
            raise InputError("ONNX files need ONNX Runtime: pip install 'posebridge[onnx]'") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised; a log besides them would repeat them
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            content = read_file(path)
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except FileNotFoundError:
            raise InputError(f"{path} does not exist: give an ONNX file") from None
        except Exception as error:  # the runtime's exceptions have no common base
            raise InputError(f"{path} can't be loaded as an ONNX file: {first_line(error)}") from error
        return cls(path, _description(path, session), session)

    def predict(
        self,
        keys: Sequence[str],
        images: UInt8[np.ndarray, "B S S 3"],
        T_crop_file: Float[np.ndarray, "B 3 3"],
        K: Float[np.ndarray, "B 3 3"] | None = None,
    ) -> KeypointSet:
        """Keypoints of crops, in pixels of the files.

        Args:
            keys: of the B frames.
            images: RGB crops.
            T_crop_file: maps of pixels of the files to those of the crops.
            K: intrinsics of the files; None where they are unknown: joints are then relative to the root.

        Raises ``InputError`` for output that is not finite.
        """
        count, outputs = len(images), OUTPUTS[: 3 if self.description.in_mm else 2]
        inputs = {
            "image": np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32) / 255,
            "T_crop_file": T_crop_file.astype(np.float32),
            "K": np.zeros((count, 3, 3), np.float32) if K is None else K.astype(np.float32),
        }
        found = dict(zip(outputs, map(np.asarray, self.session.run([*outputs], inputs)), strict=True))
        for values in found.values():
            broken = ~np.isfinite(values).reshape(count, -1).all(axis=1)
            if broken.any():
                raise InputError(f"{keys[int(broken.argmax())]}: the network's output is not finite: train it again")
        names = self.description.joint_names
        return KeypointSet(
            np.array(keys), names, uv_px=found["uv_px"], xyz_mm=found.get("xyz_mm"), confidence=found["confidence"]
        )


def _description(path: Path, session: "InferenceSession") -> OnnxDescription:
    text: Any = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if text is None:
        raise InputError(f"{path} was not written by posebridge export: its metadata has no {METADATA!r}")
    try:
        described = OnnxDescription.from_json(text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: its metadata are damaged: export the model again") from error
    if described.format != FORMAT:
        raise InputError(f"{path} has format {described.format}, this version reads {FORMAT}: export the model again")
    inputs = {node.name for node in session.get_inputs()}
    if inputs != {*CROP_INPUTS}:
        raise InputError(f"{path} takes {', '.join(sorted(inputs))}: give the file that takes crops, not whole frames")
    return described
