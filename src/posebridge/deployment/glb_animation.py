"""Moving poses as glTF 2.0 (Khronos; ISO/IEC 12113): a skeleton with a stick figure, and a mesh a frame.

Libraries that keep up with glTF write no animations (trimesh) or only the JSON's classes (pygltflib), so the few
buffers are written here.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from posebridge.skeletons.joint_colours import joint_rgb
from posebridge.skeletons.skeleton import Skeleton

_FLOAT, _UINT8, _UINT32 = 5126, 5121, 5125
_KIND = {np.dtype("<f4"): _FLOAT, np.dtype("u1"): _UINT8, np.dtype("<u4"): _UINT32}
_SHAPE = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
_ATTRIBUTE, _INDEX = 34962, 34963  # targets of buffer views
_HALF_TURN_ABOUT_X = (1.0, 0.0, 0.0, 0.0)  # quaternion: from x right, y down, z forward to glTF's y up, z backward
_SKIN_RGB = (0.80, 0.51, 0.41)  # linear
_JOINT_OF_BONE = 0.12  # radius of joints over the median length of bones
_STICK_OF_JOINT = 0.45  # radius of sticks over that of joints
_OCTAHEDRON = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=np.float32)
_SIDES = np.array(  # counter-clockwise as seen from outside
    [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
)
_EDGES = np.array([[0, 2], [2, 1], [1, 3], [3, 0], [0, 4], [4, 2], [4, 1], [4, 3], [2, 5], [5, 0], [5, 1], [5, 3]])


def animation_glb(
    skeleton: Skeleton,
    seconds: np.ndarray,
    joints_m: np.ndarray,
    vertices_m: np.ndarray | None = None,
    faces: np.ndarray | None = None,
) -> bytes:
    """A .glb of T poses of one subject over time, in metres; the axes of the camera are turned to those of glTF.

    Each joint is a node of its name below that of its parent, with an animated translation, and all are the joints of a
    skin: tools show an armature. A mesh is shown from its own time to the next one's, by a scale of 1 and otherwise 0.

    Args:
        skeleton: of the J joints.
        seconds: (T,), rising.
        joints_m: (T, J, 3), x right, y down, z forward.
        vertices_m: (T, V, 3) in the same frame.
        faces: (F, 3) corners of the meshes' faces, counter-clockwise as seen from outside.
    """
    document = _Document()
    first = document.node(name="camera_axes", rotation=_HALF_TURN_ABOUT_X)
    joints = document.joints(skeleton, seconds, joints_m)
    document.nodes[first]["children"] = [joints[skeleton.root]]
    stick = document.stick_figure(skeleton, joints, joints_m)
    if vertices_m is not None and faces is not None:
        document.nodes[first]["children"] += document.meshes(seconds, vertices_m, faces)
    return document.glb([first, stick])


@dataclass
class _Document:
    """A glTF document whose arrays are appended to one buffer."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    _meshes: list[dict[str, Any]] = field(default_factory=list)
    _skins: list[dict[str, Any]] = field(default_factory=list)
    _accessors: list[dict[str, Any]] = field(default_factory=list)
    _views: list[dict[str, Any]] = field(default_factory=list)
    _channels: list[dict[str, Any]] = field(default_factory=list)
    _samplers: list[dict[str, Any]] = field(default_factory=list)
    _buffer: bytearray = field(default_factory=bytearray)

    def node(self, **fields: Any) -> int:
        """Append a node and return its index."""
        self.nodes.append(fields)
        return len(self.nodes) - 1

    def joints(self, skeleton: Skeleton, seconds: np.ndarray, joints_m: np.ndarray) -> list[int]:
        """Nodes of all joints, each below its parent and moving relative to it."""
        parents = np.array(skeleton.parents)
        relative_m = np.where((parents >= 0)[:, None], joints_m - joints_m[:, parents], joints_m)
        nodes = [self.node(name=name, translation=relative_m[0, j].tolist()) for j, name in enumerate(skeleton.joints)]
        for parent, child in skeleton.bones:
            self.nodes[nodes[parent]].setdefault("children", []).append(nodes[child])
        times = self._times(seconds)
        for j, node in enumerate(nodes):
            self._animate(node, "translation", times, relative_m[:, j], "LINEAR")
        return nodes

    def stick_figure(self, skeleton: Skeleton, nodes: Sequence[int], joints_m: np.ndarray) -> int:
        """A node with octahedra at the joints and sticks along the bones, bound to the joints' nodes.

        Corners of a stick are bound to the joint at their end, so they need no rotation.
        """
        parents, children = np.array(skeleton.bones).T
        lengths_m = np.linalg.norm(joints_m[:, children] - joints_m[:, parents], axis=-1)
        radius_m = _JOINT_OF_BONE * float(np.median(lengths_m))
        corners, faces, owners, colours = [], [], [], []
        for joint, name in enumerate(skeleton.joints):
            faces.append(_SIDES + 6 * len(corners))
            corners.append(radius_m * _OCTAHEDRON)
            owners += 6 * [joint]
            colours += 6 * [_linear(joint_rgb(name))]
        for parent, child in skeleton.bones:
            near, far = _EDGES + 6 * len(corners), _EDGES + 6 * (len(corners) + 1)
            faces += [np.stack([near[:, 0], near[:, 1], far[:, 1]], 1), np.stack([near[:, 0], far[:, 1], far[:, 0]], 1)]
            corners += 2 * [_STICK_OF_JOINT * radius_m * _OCTAHEDRON]
            owners += 6 * [parent] + 6 * [child]
            colours += 12 * [_linear(joint_rgb(skeleton.joints[child]))]
        of_joint = np.zeros((len(owners), 4), np.uint8)
        of_joint[:, 0] = owners
        weights = np.zeros((len(owners), 4), np.float32)
        weights[:, 0] = 1
        attributes = {
            "POSITION": self._accessor(np.concatenate(corners), _ATTRIBUTE, bounds=True),
            "COLOR_0": self._accessor(np.array(colours, np.float32), _ATTRIBUTE),
            "JOINTS_0": self._accessor(of_joint, _ATTRIBUTE),
            "WEIGHTS_0": self._accessor(weights, _ATTRIBUTE),
        }
        mesh = self._mesh("stick_figure", attributes, self._indices(np.concatenate(faces)), 0)
        self._skins.append({"name": skeleton.name, "joints": list(nodes), "skeleton": nodes[skeleton.root]})
        return self.node(name="stick_figure", mesh=mesh, skin=0)

    def meshes(self, seconds: np.ndarray, vertices_m: np.ndarray, faces: np.ndarray) -> list[int]:
        """A node for each mesh, visible during its own time."""
        indices, last = self._indices(faces), len(seconds) - 1
        nodes: list[int] = []
        for t, points in enumerate(vertices_m):
            name = f"mesh_{t:06d}"
            mesh = self._mesh(name, {"POSITION": self._accessor(points, _ATTRIBUTE, bounds=True)}, indices, 1)
            nodes.append(self.node(name=name, mesh=mesh, scale=3 * [float(t == 0)]))
            shown = [(0, 0.0)] * (t > 0) + [(t, 1.0)] + [(t + 1, 0.0)] * (t < last)
            times = self._times(seconds[[at for at, _ in shown]])
            self._animate(nodes[-1], "scale", times, np.array([3 * [scale] for _, scale in shown]), "STEP")
        return nodes

    def glb(self, roots: list[int]) -> bytes:
        """The document with these nodes at the root of its scene."""
        document = {
            "asset": {"version": "2.0", "generator": "posebridge"},
            "scene": 0,
            "scenes": [{"nodes": roots}],
            "nodes": self.nodes,
            "meshes": self._meshes,
            "skins": self._skins,
            "materials": [_material("stick_figure", (1.0, 1.0, 1.0)), _material("skin", _SKIN_RGB)],
            "animations": [{"name": "poses", "channels": self._channels, "samplers": self._samplers}],
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._buffer)}],
        }
        text = json.dumps(document, separators=(",", ":")).encode()
        chunks = _chunk(b"JSON", text.ljust(-(-len(text) // 4) * 4)) + _chunk(b"BIN\0", bytes(self._buffer))
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

    def _mesh(self, name: str, attributes: dict[str, int], indices: int, material: int) -> int:
        self._meshes.append(
            {"name": name, "primitives": [{"attributes": attributes, "indices": indices, "material": material}]}
        )
        return len(self._meshes) - 1

    def _indices(self, faces: np.ndarray) -> int:
        return self._accessor(faces.reshape(-1).astype("<u4"), _INDEX)

    def _times(self, seconds: np.ndarray) -> int:
        return self._accessor(seconds.astype("<f4"), None, bounds=True)

    def _animate(self, node: int, path: str, times: int, values: np.ndarray, interpolation: str) -> None:
        output = self._accessor(values.astype("<f4"), None)
        self._samplers.append({"input": times, "output": output, "interpolation": interpolation})
        self._channels.append({"sampler": len(self._samplers) - 1, "target": {"node": node, "path": path}})

    def _accessor(self, array: np.ndarray, target: int | None, bounds: bool = False) -> int:
        """Append an array (N,) or (N, C); its bytes are a multiple of four."""
        if array.dtype.kind == "f":
            array = array.astype("<f4")
        rows = array.reshape(len(array), -1)
        view = {"buffer": 0, "byteOffset": len(self._buffer), "byteLength": rows.nbytes}
        self._buffer += rows.tobytes()
        self._views.append(view if target is None else view | {"target": target})
        accessor = {
            "bufferView": len(self._views) - 1,
            "componentType": _KIND[rows.dtype],
            "count": len(rows),
            "type": _SHAPE[rows.shape[1]],
        }
        if bounds:
            accessor |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
        self._accessors.append(accessor)
        return len(self._accessors) - 1


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack("<I4s", len(content), kind) + content


def _material(name: str, rgb: tuple[float, float, float]) -> dict[str, Any]:
    surface = {"baseColorFactor": [*rgb, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.8}
    return {"name": name, "doubleSided": True, "pbrMetallicRoughness": surface}


def _linear(rgb: tuple[int, int, int]) -> list[float]:
    """Linear values in [0, 1] of a colour in sRGB, which screens take."""
    return [(value / 255) ** 2.2 for value in rgb]
