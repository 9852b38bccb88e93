"""Joints of datasets on posed meshes: rigid motions, places within the skin, and proportions of real labels."""

from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from bodies.mano_file import TIPS, mano_arrays, write_mano
from posebridge.bodies.anny import anny_hand
from posebridge.bodies.hand_articulation import HandAngles, pose_hand
from posebridge.bodies.joint_maps import JointMap, joint_map
from posebridge.bodies.mano import mano_hand
from posebridge.bodies.parametric_hand import RiggedHand
from posebridge.errors import InputError
from posebridge.skeletons.body import MPII16
from posebridge.skeletons.depth_hands import ICVL16, NYU14
from posebridge.skeletons.hand import FINGERS, HAND21

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
SKELETONS = (NYU14, ICVL16, HAND21)
REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    mano = mano_hand(write_mano(tmp_path_factory.mktemp("mano") / "mano.npz"))
    return {name: RiggedHand(model, 8).model(CPU) for name, model in (("anny", anny_hand("right")), ("mano", mano))}


def posed(model, count: int = 4, shape: float = 1.0, bend: float = 0.6) -> tuple[torch.Tensor, torch.Tensor]:
    """Joints and vertices of random hands, in metres: shapes of this standard deviation, angles up to ``bend``."""
    generator = torch.Generator().manual_seed(0)
    angles = HandAngles.from_stacked(bend * torch.rand(count, 22, generator=generator))
    hands = pose_hand(model, angles, shape * torch.randn(count, 8, generator=generator))
    vertices = hands.vertices_m()
    return hands.keypoints_m(vertices), vertices


@pytest.fixture(scope="module")
def rest(models) -> dict[str, np.ndarray]:
    """Joints of Anny's straight hand in mm, by skeleton and joint."""
    model = models["anny"]
    hands = pose_hand(model, HandAngles.from_stacked(torch.zeros(1, 22)), torch.zeros(1, 8))
    vertices = hands.vertices_m()
    joints = hands.keypoints_m(vertices)
    found = {}
    for skeleton in SKELETONS:
        mapped = 1000 * joint_map(model, skeleton)(joints, vertices)[0].numpy()
        found |= {f"{skeleton.name}.{name}": xyz for name, xyz in zip(skeleton.joints, mapped, strict=True)}
    return found


@pytest.mark.parametrize("name", ["anny", "mano"])
@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda skeleton: skeleton.name)
def test_joints_move_with_the_hand(models, name, skeleton):
    """Under rotation, translation, scaling and mirroring."""
    to_joints = joint_map(models[name], skeleton)
    joints, vertices = posed(models[name])
    found = to_joints(joints, vertices)
    assert found.shape == (4, len(skeleton), 3)
    R = roma.random_rotmat(4) * torch.tensor([1.0, 1.0, -1.0])  # a reflection
    shift, scale = torch.randn(4, 1, 3), 2.5

    def moved(points):
        return scale * points @ R.mT + shift

    torch.testing.assert_close(to_joints(moved(joints), moved(vertices)), moved(found), atol=1e-5, rtol=0)


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda skeleton: skeleton.name)
def test_weights(models, skeleton):
    to_joints = joint_map(models["anny"], skeleton)
    torch.testing.assert_close(to_joints.joint_weights.sum(1), torch.ones(len(skeleton)))
    assert to_joints.vertex_weights.sum(1).abs().max() < 1e-5
    confidence = torch.linspace(0.1, 0.9, 21)[None]
    found = to_joints.confidence(confidence)[0]
    assert ((found > 0.1 - 1e-6) & (found < 0.9 + 1e-6)).all()


def test_hand21_is_unchanged(models):
    joints, vertices = posed(models["anny"])
    assert torch.equal(joint_map(models["anny"], HAND21)(joints, vertices), joints)


def test_middles_of_icvl(models):
    joints, vertices = posed(models["anny"])
    found = joint_map(models["anny"], ICVL16)(joints, vertices)
    ring = [joints[:, HAND21.index(f"ring_{i}")] for i in (1, 2, 3, 4)]
    for part, first in zip(("root", "mid", "tip"), range(3), strict=True):
        expected = (ring[first] + ring[first + 1]) / 2
        torch.testing.assert_close(found[:, ICVL16.index(f"ring_{part}")], expected)


def tips_mm(to_joints: JointMap, joints: torch.Tensor, vertices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """NYU's and HAND21's tips (B, 5, 3) in mm, thumb first."""
    found = to_joints(joints, vertices)
    nyu, own = ([s.index(f"{finger}_4") for finger in FINGERS] for s in (NYU14, HAND21))
    return 1000 * found[:, nyu], 1000 * joints[:, own]


def test_tips_of_nyu_lie_within_the_skin(models):
    """Of Anny's hand, as deep as half of a finger is thick (5 to 9 mm); those of HAND21 lie on the skin."""
    joints, vertices = posed(models["anny"], bend=0.0)
    nyu, own = tips_mm(joint_map(models["anny"], NYU14), joints, vertices)
    to_skin = [torch.cdist(tips, 1000 * vertices).amin(-1) for tips in (nyu, own)]
    assert to_skin[0].min() > 3
    assert to_skin[0].max() < 9
    assert to_skin[1].max() < 3
    apart = (nyu - own).norm(dim=-1)
    assert ((apart > 3) & (apart < 11)).all()


def test_tips_keep_their_place_in_the_bone(models):
    """In any pose of a subject: their distance from HAND21's tip and from the last joint stays the same."""
    model = models["anny"]
    joints, vertices = posed(model, count=8, shape=0.0)
    nyu, own = tips_mm(joint_map(model, NYU14), joints, vertices)
    last = 1000 * joints[:, [HAND21.index(f"{finger}_3") for finger in FINGERS]]
    for other in (own, last):
        distance = (nyu - other).norm(dim=-1)
        assert (distance.amax(0) - distance.amin(0)).max() < 0.5


def test_tips_of_mano_lie_on_the_axis(models):
    """The file's finger ends are cylinders around the last bone, with the tip vertices 744, 333, 444, 555 and 672."""
    model = models["mano"]
    rig = model.rig
    to_joints = joint_map(model, NYU14)
    nyu, _ = tips_mm(to_joints, rig.keypoints_of(rig.heads_m[None], rig.vertices_m[None]), rig.vertices_m[None])
    length_mm = 1000 * float(rig.heads_m[rig.bones.index("finger3-1")].norm())
    assert [*TIPS.values()] == [744, 333, 444, 555, 672]
    for finger, vertex in TIPS.items():
        tip, head = 1000 * rig.vertices_m[vertex], 1000 * rig.heads_m[rig.bones.index(f"finger{finger}-3")]
        along = torch.nn.functional.normalize(tip - head, dim=0)
        offset = nyu[0, finger - 1] - tip
        # Radii in the units of the authors' mesh, 1.959 of which are the distance from wrist to middle knuckle.
        depth_mm = {1: 0.17, 2: 0.105, 3: 0.115, 4: 0.115, 5: 0.095}[finger] / 1.959 * length_mm
        assert float(offset @ along) == pytest.approx(-depth_mm, abs=0.2)
        assert (offset - (offset @ along) * along).norm() < 0.3


def test_palm_of_nyu(rest):
    """Wrists at both sides of the wrist, thumb's and little finger's; the palm between them and the middle knuckle."""
    at = {name.removeprefix("nyu14."): xyz for name, xyz in rest.items() if name.startswith("nyu14.")}
    wrist, thumb, pinky = (rest[f"hand21.{name}"] for name in ("wrist", "thumb_2", "pinky_1"))
    middle = 0.5 * (at["wrist_ulnar"] + at["wrist_radial"])
    assert np.linalg.norm(middle - wrist) < 10
    for side, near, far in (("wrist_radial", thumb, pinky), ("wrist_ulnar", pinky, thumb)):
        sideways = (at[side] - middle) @ (near - far)
        assert sideways > 0
    fraction = np.linalg.norm(at["palm"] - wrist) / np.linalg.norm(rest["hand21.middle_1"] - wrist)
    assert fraction == pytest.approx(0.75, abs=0.01)


def test_refusals(models, tmp_path):
    with pytest.raises(InputError, match="no joints of mpii16 in a hand: choose one of hand21, nyu14, icvl16"):
        joint_map(models["anny"], MPII16)
    bare = write_mano(tmp_path / "mano.npz", v_template=flat_ends())
    with pytest.raises(InputError, match="no closed skin around the end of the thumb"):
        joint_map(mano_hand(bare), NYU14)


def flat_ends() -> np.ndarray:
    """The vertices of a MANO file whose fingers are lines."""
    arrays = mano_arrays()
    vertices = arrays["v_template"].copy()
    moved = arrays["weights"].argmax(1)
    for finger, vertex in TIPS.items():
        last = {1: 15, 2: 3, 3: 6, 4: 12, 5: 9}[finger]
        vertices[moved == last] = vertices[vertex]
    return vertices


def length(points: dict[str, np.ndarray], first: str, second: str) -> float:
    """Median distance of two joints."""
    return float(np.median(np.linalg.norm(points[first] - points[second], axis=-1)))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real labels are not in ../shared/data")
class TestRealLabels:
    """Labels check the maps, which were made without them."""

    def test_nyu(self, rest):
        """The labelled frame: tips lie beneath the measured surface; the palm has the map's proportions."""
        folder = REAL / "hand_depth_nyu_frame"
        uvd = np.load(folder / "gt_frame1_uvd.npz")["uvd"]
        xyz = np.concatenate([(uvd[:, :2] - [320, 240]) / [588.03, 587.07] * uvd[:, 2:], uvd[:, 2:]], axis=1)
        real = dict(zip(NYU14.joints, xyz, strict=True))
        ours = {name: rest[f"nyu14.{name}"] for name in NYU14.joints}

        def palm(at):
            middle = 0.5 * (at["wrist_ulnar"] + at["wrist_radial"])
            return np.linalg.norm(at["wrist_ulnar"] - at["wrist_radial"]) / np.linalg.norm(at["palm"] - middle)

        assert palm(ours) == pytest.approx(palm(real), rel=0.03)
        from posebridge.data.datasets.depth_png import read_depth_two_bytes

        depth_mm = 1000 * read_depth_two_bytes(folder / "depth_1_0000001.png", 1e-3)
        for finger in FINGERS:
            u, v, d = uvd[NYU14.index(f"{finger}_4")]
            around = depth_mm[round(v) - 1 : round(v) + 2, round(u) - 1 : round(u) + 2]
            assert 2 < d - np.median(around) < 12

    def test_icvl(self, rest):
        """Lengths between the middles of bones: labels are shorter by one factor, chords of bent fingers by more."""
        uvd = np.load(REAL / "depth_benchmark_icvl/truth.npz")["uvd"]
        xyz = np.concatenate([(uvd[..., :2] - [160, 120]) / [240.99, 240.96] * uvd[..., 2:], uvd[..., 2:]], axis=-1)
        real = {name: xyz[:, i] for i, name in enumerate(ICVL16.joints)}
        ours = {name: rest[f"icvl16.{name}"] for name in ICVL16.joints}
        pairs = [(f"{f}_{a}", f"{f}_{b}") for f in FINGERS for a, b in (("root", "mid"), ("mid", "tip"))]
        ratios = np.array([length(real, *pair) / length(ours, *pair) for pair in pairs])
        assert ((ratios > 0.6) & (ratios < 1.05)).all()
        assert ratios.std() < 0.12

    def test_msra(self, rest):
        """Fingers have the map's proportions. The labelled wrist lies some 20 mm nearer to the knuckles."""
        from posebridge.skeletons.orders import ORDERS

        lines = (REAL / "depth_benchmark_icvl/text_format/msra14_one_subject_joint.txt").read_text().splitlines()[1:]
        xyz = np.array([line.split() for line in lines if line.strip()], dtype=float).reshape(-1, 21, 3)
        real = {name: xyz[:, i] for i, name in enumerate(ORDERS["msra"])}
        ours = {name: rest[f"hand21.{name}"] for name in HAND21.joints}
        pairs = [(f"{f}_{i}", f"{f}_{i + 1}") for f in FINGERS for i in (2, 3)]
        ratios = np.array([length(real, *pair) / length(ours, *pair) for pair in pairs])
        assert ((ratios > 0.5) & (ratios < 1.3)).all()
