"""Moving poses in glTF: read by trimesh, and their movement by the rules of the specification."""

import io
import json
import struct

import numpy as np
import pytest
import trimesh

from posebridge.deployment.glb_animation import animation_glb
from posebridge.skeletons.body import BODIES
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton

TO_GLTF = np.diag([1.0, -1.0, -1.0])  # x right, y down, z forward -> y up, z backward
SECONDS = np.array([0.0, 0.04, 0.12])
KINDS = {5126: "<f4", 5121: "u1", 5125: "<u4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


def poses(skeleton: Skeleton) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(3, len(skeleton), 3)) * 0.05 + [0.0, 0.1, 0.6]


def meshes() -> tuple[np.ndarray, np.ndarray]:
    """A box at three places; its faces are counter-clockwise as seen from outside."""
    box = trimesh.creation.box((0.1, 0.2, 0.3))
    return np.stack([box.vertices + np.array([0.1 * t, 0, 0.5]) for t in range(3)]), np.asarray(box.faces)


class Reader:
    """A document at a time, by sections 3.11 (animations) and 3.7.3 (skins) of the specification."""

    def __init__(self, content: bytes):
        assert struct.unpack("<4sII", content[:12]) == (b"glTF", 2, len(content))
        length, kind = struct.unpack("<I4s", content[12:20])
        assert kind == b"JSON"
        self.document = json.loads(content[20 : 20 + length])
        (binary, kind), self.buffer = struct.unpack("<I4s", content[20 + length : 28 + length]), content[28 + length :]
        assert (binary, kind) == (len(self.buffer), b"BIN\0")
        self.nodes = self.document["nodes"]

    def array(self, index: int) -> np.ndarray:
        accessor = self.document["accessors"][index]
        view = self.document["bufferViews"][accessor["bufferView"]]
        kind, width = np.dtype(KINDS[accessor["componentType"]]), WIDTHS[accessor["type"]]
        content = self.buffer[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        return np.frombuffer(content, kind).reshape(accessor["count"], width)

    def animated(self, seconds: float) -> list[dict]:
        nodes = [dict(node) for node in self.nodes]
        (animation,) = self.document["animations"]
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            times, values = self.array(sampler["input"])[:, 0], self.array(sampler["output"])
            row = max(int(np.searchsorted(times, seconds + 1e-6, "right")) - 1, 0)
            value = values[row]
            if sampler["interpolation"] == "LINEAR":
                value = [np.interp(seconds, times, column) for column in values.T]
            nodes[channel["target"]["node"]][channel["target"]["path"]] = value
        return nodes

    def globals(self, seconds: float) -> dict[str, np.ndarray]:
        """The transform of each node to the scene."""
        nodes, found = self.animated(seconds), {}

        def visit(index: int, T_scene_parent: np.ndarray) -> None:
            node = nodes[index]
            own = np.eye(4)
            x, _, _, w = node.get("rotation", (0, 0, 0, 1))
            assert (x, w) in ((0, 1), (1, 0))
            own[:3, :3] = np.diag([1, w * w - x * x, w * w - x * x]) * np.array(node.get("scale", (1, 1, 1)))
            own[:3, 3] = node.get("translation", (0, 0, 0))
            found[node["name"]] = T_scene_parent @ own
            for child in node.get("children", ()):
                visit(child, found[node["name"]])

        for root in self.document["scenes"][0]["nodes"]:
            visit(root, np.eye(4))
        return found


@pytest.mark.parametrize("skeleton", [HAND21, BODIES["h36m17"]], ids=lambda skeleton: skeleton.name)
def test_joints_move(skeleton):
    joints_m = poses(skeleton)
    reader = Reader(animation_glb(skeleton, SECONDS, joints_m))
    expected = [*joints_m, (joints_m[1] + joints_m[2]) / 2]
    for seconds, pose in zip([*SECONDS, 0.08], expected, strict=True):
        found = reader.globals(seconds)
        places = np.stack([found[name][:3, 3] for name in skeleton.joints])
        np.testing.assert_allclose(places, pose @ TO_GLTF, atol=1e-6)


def test_joints_are_an_armature_that_moves_the_stick_figure():
    joints_m = poses(HAND21)
    reader = Reader(animation_glb(HAND21, SECONDS, joints_m))
    (skin,) = reader.document["skins"]
    assert [reader.nodes[joint]["name"] for joint in skin["joints"]] == list(HAND21.joints)
    names = {node["name"]: node for node in reader.nodes}
    for parent, child in HAND21.bones:
        below = [reader.nodes[i]["name"] for i in names[HAND21.joints[parent]]["children"]]
        assert HAND21.joints[child] in below
    (primitive,) = reader.document["meshes"][names["stick_figure"]["mesh"]]["primitives"]
    corners, owners = (reader.array(primitive["attributes"][name]) for name in ("POSITION", "JOINTS_0"))
    faces = reader.array(primitive["indices"]).reshape(-1, 3)
    found = reader.globals(SECONDS[2])
    T = np.stack([found[name] for name in HAND21.joints])[owners[:, 0]]
    moved = np.einsum("nij,nj->ni", T[:, :3, :3], corners) + T[:, :3, 3]
    gap = np.linalg.norm(moved - joints_m[2][owners[:, 0]] @ TO_GLTF, axis=1)
    np.testing.assert_allclose(gap, np.linalg.norm(corners, axis=1), atol=1e-6)
    # The first eight faces are the wrist's; of a closed body with normals outwards the volume is positive.
    assert trimesh.Trimesh(moved, faces[:8], process=False).volume > 0
    assert (reader.array(primitive["attributes"]["WEIGHTS_0"]).sum(1) == 1).all()


def test_one_mesh_is_visible_at_a_time():
    vertices_m, faces = meshes()
    reader = Reader(animation_glb(HAND21, SECONDS, poses(HAND21), vertices_m, faces))
    names = [f"mesh_{t:06d}" for t in range(3)]
    for seconds, shown in ((0.0, 0), (0.039, 0), (0.04, 1), (0.11, 1), (0.12, 2), (5.0, 2)):
        found = reader.globals(seconds)
        assert [np.linalg.det(found[name][:3, :3]) for name in names] == [float(t == shown) for t in range(3)]
    nodes = {node["name"]: node for node in reader.nodes}
    for t, name in enumerate(names):
        (primitive,) = reader.document["meshes"][nodes[name]["mesh"]]["primitives"]
        np.testing.assert_allclose(reader.array(primitive["attributes"]["POSITION"]), vertices_m[t], atol=1e-6)


def test_trimesh_reads_the_first_moment():
    vertices_m, faces = meshes()
    content = animation_glb(HAND21, SECONDS, poses(HAND21), vertices_m, faces)
    scene = trimesh.load_scene(io.BytesIO(content), file_type="glb")
    T, name = scene.graph["mesh_000000"]
    box = scene.geometry[name].copy().apply_transform(T)
    np.testing.assert_allclose(box.bounds, [[-0.05, -0.1, -0.65], [0.05, 0.1, -0.35]], atol=1e-6)
    assert box.volume == pytest.approx(0.1 * 0.2 * 0.3, rel=1e-4)  # negative with faces turned inside out
    np.testing.assert_allclose(scene.graph["wrist"][0][:3, 3], poses(HAND21)[0, 0] @ TO_GLTF, atol=1e-6)


def test_bounds_are_those_of_the_arrays():
    """Viewers refuse files whose bounds are wrong."""
    reader = Reader(animation_glb(HAND21, SECONDS, poses(HAND21), *meshes()))
    bounded = [i for i, accessor in enumerate(reader.document["accessors"]) if "min" in accessor]
    assert bounded
    for index in bounded:
        accessor = reader.document["accessors"][index]
        np.testing.assert_array_equal(reader.array(index).min(0), np.array(accessor["min"], np.float32))
        np.testing.assert_array_equal(reader.array(index).max(0), np.array(accessor["max"], np.float32))


def test_a_single_pose():
    reader = Reader(animation_glb(HAND21, SECONDS[:1], poses(HAND21)[:1], meshes()[0][:1], meshes()[1]))
    assert np.linalg.det(reader.globals(3.0)["mesh_000000"][:3, :3]) == 1
