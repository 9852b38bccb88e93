"""Pose models as ONNX files, predicted by ONNX Runtime. Imports neither torch nor Lightning.

A file's graph takes crops and returns keypoints in pixels of the frames that they were cut from, and in millimetres.
``metadata_props`` describes it under the key ``posebridge``, as JSON.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.plain import from_plain
from posebridge.data.image_crops import ImageCrops
from posebridge.errors import InputError, first_line
from posebridge.regular_files import read_file
from posebridge.skeletons.named import skeleton_named
from posebridge.skeletons.skeleton import Skeleton

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

METADATA = "posebridge"
FORMAT = 1
CROP_INPUTS = ("image", "T_crop_file", "K")
OUTPUTS = ("uv_px", "confidence", "xyz_mm")

_DAMAGED = "its metadata are damaged: export the model again"


@dataclass(frozen=True)
class OnnxDescription:
    """What the metadata of a file holds."""

    skeleton: str
    joint_names: tuple[str, ...]
    size_px: int  # side of the square crops
    in_mm: bool  # whether the graph returns xyz_mm
    format: int = FORMAT
    least_confidence: float | None = None  # mean confidence, below which a crop is empty; None: no crop is

    def to_json(self) -> str:
        """The text of the metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "OnnxDescription":
        """Raises ``ValueError``, ``TypeError`` or ``KeyError`` for another text."""
        return from_plain(cls, json.loads(text))


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file of ``posebridge export``, loaded. It can be pickled for worker processes."""

    path: Path
    description: OnnxDescription
    skeleton: Skeleton
    content: bytes = field(repr=False)  # of the file
    session: "InferenceSession" = field(repr=False)

    @classmethod
    def load(cls, path: Path, threads: int | None = None) -> "OnnxModel":
        """Load a file.

        ``threads``: of the runtime; by default ``OMP_NUM_THREADS`` as for PyTorch, else one for each core.
        Raises ``InputError`` for a missing or damaged file, for one that posebridge did not write, and without ONNX
        Runtime.
        """
        try:
            content = read_file(path)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}: give an ONNX file of posebridge export") from None
        return cls.from_bytes(path, content, threads)

    @classmethod
    def from_bytes(cls, path: Path, content: bytes, threads: int | None = None) -> "OnnxModel":
        """As ``load``, of a file that is read already."""
        try:
            import onnxruntime
        except ImportError:
            raise InputError("ONNX files need ONNX Runtime: pip install 'posebridge[onnx]'") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised; a log besides them would repeat them
        options.intra_op_num_threads = _environment_threads() if threads is None else threads
        # Threads that spin while they wait take the cores of other programs, and more time than they save there.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's exceptions have no common base
            raise InputError(f"{path} can't be loaded as an ONNX file: {first_line(error)}") from error
        description = _description(path, session)
        return cls(path, description, _skeleton(path, description), content, session)

    def __reduce__(self):
        return OnnxModel.from_bytes, (self.path, self.content)

    @property
    def size_px(self) -> int:
        """Side of the square crops."""
        return self.description.size_px

    @property
    def least_confidence(self) -> float | None:
        """Mean confidence of the joints, below which a crop shows no subject; None: not known."""
        return self.description.least_confidence

    def predict_crops(self, crops: ImageCrops) -> KeypointSet:
        """Keypoints in pixels of the files. Without intrinsics, joints in space are relative to the root.

        Raises ``InputError`` for output that is not finite.
        """
        count, outputs = len(crops), OUTPUTS[: 3 if self.description.in_mm else 2]
        inputs = {
            "image": np.ascontiguousarray(crops.pixels.transpose(0, 3, 1, 2), dtype=np.float32) / 255,
            "T_crop_file": crops.T_crop_file.astype(np.float32),
            "K": np.zeros((count, 3, 3), np.float32) if crops.K is None else crops.K.astype(np.float32),
        }
        found = dict(zip(outputs, map(np.asarray, self.session.run([*outputs], inputs)), strict=True))
        for values in found.values():
            broken = ~np.isfinite(values).reshape(count, -1).all(axis=1)
            if broken.any():
                raise InputError(
                    f"{crops.key[int(broken.argmax())]}: the network's output is not finite: train the model again"
                )
        return KeypointSet(
            np.array(crops.key),
            self.skeleton.joints,
            uv_px=found["uv_px"],
            xyz_mm=found.get("xyz_mm"),
            confidence=found["confidence"],
        )


def _environment_threads() -> int:
    """Threads that the environment sets for the libraries of this process; 0, one for each core, without it."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else 0


def _skeleton(path: Path, description: OnnxDescription) -> Skeleton:
    try:
        skeleton = skeleton_named(description.skeleton)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if skeleton.joints != description.joint_names:
        raise InputError(f"{path}: its joints are not those of {skeleton.name} here: export the model again")
    return skeleton


def _description(path: Path, session: "InferenceSession") -> OnnxDescription:
    text: Any = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if text is None:
        raise InputError(f"{path} was not written by posebridge export: its metadata has no {METADATA!r}")
    try:
        described = OnnxDescription.from_json(text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: {_DAMAGED}") from error
    if described.format != FORMAT:
        raise InputError(f"{path} has format {described.format}, this version reads {FORMAT}: export the model again")
    inputs = {node.name: node.shape for node in session.get_inputs()}
    if inputs.keys() != {*CROP_INPUTS}:
        raise InputError(f"{path} takes {', '.join(sorted(inputs))}: give the file that takes crops, not whole frames")
    if inputs["image"][1:] != [3, described.size_px, described.size_px]:
        raise InputError(f"{path}: {_DAMAGED}")
    return described
