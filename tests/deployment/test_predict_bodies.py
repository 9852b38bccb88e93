"""Predicted people: skeleton and length of the reference bone come from the model's file."""

import json
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from data.on_disk import write_pictures
from deployment.rigged import SMALL, SPEC, DotFinder, draw_dots, small_model
from posebridge.cli.main import main
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.target import TargetConfig
from posebridge.deployment import torch_crops
from posebridge.deployment.model_file import LoadedModel, load_model
from posebridge.deployment.predict_files import PredictConfig, predict_files
from posebridge.representations.heatmaps import encode_gaussian, map_from_image
from posebridge.skeletons.body import H36M17

BODY = replace(SPEC, network=replace(SMALL, joints=len(H36M17)), skeleton=H36M17.name, reference_length_m=0.25)
# A person of two units from pelvis to head, x to the right: x, y, and depth in reference bones.
LAYOUT = {
    "pelvis": (0, 0, 0),
    "spine": (0, 0.55, 0.1),
    "thorax": (0.05, 1.1, 0.3),
    "neck_base": (0.05, 1.5, 0.2),
    "head": (0, 2, 0.1),
    "left_hip": (-0.3, 0, 0.2),
    "left_knee": (-0.35, -0.9, -0.4),
    "left_ankle": (-0.3, -1.7, 0.6),
    "left_shoulder": (-0.4, 1.15, 0.1),
    "left_elbow": (-0.7, 0.7, 0.8),
    "left_wrist": (-0.9, 0.3, -0.9),
    "right_hip": (0.3, 0, -0.2),
    "right_knee": (0.4, -0.8, 0.5),
    "right_ankle": (0.4, -1.7, 0.9),
    "right_shoulder": (0.45, 1.1, 0.4),
    "right_elbow": (0.8, 0.8, -0.5),
    "right_wrist": (1.1, 0.4, -0.6),
}
POSE = np.array([LAYOUT[joint] for joint in H36M17.joints])


def joints_of(pelvis: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Pixels of the person's joints (17, 2), from those of pelvis and head."""
    up = (head - pelvis) / 2
    right = np.array([-up[1], up[0]])
    return pelvis + POSE[:, :1] * right + POSE[:, 1:2] * up


class PersonFinder(DotFinder):
    """Finds the pelvis at the red disc and the head at the green one, by construction."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        height, width = images.shape[-2:]
        weight = (images - 0.4).clamp_min(0)
        weight = weight / weight.sum(dim=(-2, -1), keepdim=True)
        u = (weight.sum(dim=-2) * torch.arange(width)).sum(dim=-1)
        v = (weight.sum(dim=-1) * torch.arange(height)).sum(dim=-1)
        dots = torch.stack([u, v], dim=-1).numpy()
        uv_px = torch.from_numpy(np.stack([joints_of(person[0], person[1]) for person in dots])).float()
        small = (height // 2, width // 2)
        maps, inside = encode_gaussian(map_from_image(uv_px, (height, width), small), *small, 1.5, "sum")
        assert inside.all()
        depth = torch.from_numpy(POSE[:, 2]).float()[None, :, None, None].expand_as(maps)
        return maps.clamp_min(1e-30).log(), depth


def _person(i: int) -> tuple[np.ndarray, np.ndarray]:
    return np.array([150.0 + 5 * i, 118.0]), np.array([155.0 + 5 * i, 58.0])


def test_people_in_boxes_of_a_wide_picture(tmp_path, monkeypatch):
    """In space (thorax - spine) is the reference bone, and the other joints have the scale of the image."""
    monkeypatch.setattr(torch_crops, "load_model", lambda path, *kinds: LoadedModel(kinds[0], BODY, PersonFinder()))
    boxes = {}
    (tmp_path / "in").mkdir()
    for i in range(3):
        pelvis, head = _person(i)
        picture = draw_dots(400, 180, np.array([pelvis, head, [-50, -50]]))
        Image.fromarray(picture).save(tmp_path / "in" / f"{i}.png")
        boxes[str(i)] = [pelvis[0] - 60, 30, pelvis[0] + 60, 175]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    target = TargetConfig(tmp_path / "in", boxes=tmp_path / "boxes.json", padding=1.15)
    done = predict_files(PredictConfig(Path("model"), target, tmp_path / "out", device="cpu"))
    found = KeypointSet.load(done.predictions)
    assert found.joint_names == H36M17.joints
    spine, thorax = H36M17.index("spine"), H36M17.index("thorax")
    for i in range(3):
        uv_px = joints_of(*_person(i))
        np.testing.assert_allclose(found.uv_px[i], uv_px, atol=1.0)
        across = np.sqrt(1 - (POSE[thorax, 2] - POSE[spine, 2]) ** 2)  # in the image, of length 1
        mm_per_px = 250 * across / np.linalg.norm(uv_px[thorax] - uv_px[spine])
        expected = np.concatenate([(uv_px - uv_px[0]) * mm_per_px, 250 * POSE[:, 2:]], axis=1)
        np.testing.assert_allclose(found.xyz_mm[i], expected, atol=25)
        drawn = cv2.imread(str(tmp_path / "out" / "overlays" / f"{i}.jpg")).astype(int)
        plain = draw_dots(400, 180, np.array([*_person(i), [-50, -50]]))[..., ::-1].astype(int)
        changed = np.abs(drawn - plain).max(axis=2) > 60
        for u, v in uv_px:
            assert changed[round(v) - 3 : round(v) + 4, round(u) - 3 : round(u) + 4].any()


def test_a_video_by_the_command(tmp_path, monkeypatch, capsys):
    """With intrinsics: the reference bone has the length in the model's file at any distance."""
    small_model(tmp_path / "run", BODY)
    monkeypatch.setattr(
        torch_crops, "load_model", lambda path, *kinds: replace(load_model(path, *kinds), network=PersonFinder())
    )
    write_pictures(tmp_path / "walk.mp4", [draw_dots(300, 180, np.array([*_person(i), [-50, -50]])) for i in range(4)])
    command = ["predict", tmp_path / "run", tmp_path / "walk.mp4", "--out", tmp_path / "out", "--device", "cpu"]
    assert main([*map(str, command), "--intrinsics", "400", "400", "149.5", "89.5"]) == 0
    found = KeypointSet.load(tmp_path / "out" / "predictions.npz")
    assert found.key.tolist() == [f"walk_{i:06d}" for i in range(4)]
    assert found.joint_names == H36M17.joints
    bone = found.xyz_mm[:, H36M17.index("thorax")] - found.xyz_mm[:, H36M17.index("spine")]
    np.testing.assert_allclose(np.linalg.norm(bone, axis=1), 250, rtol=1e-3)
    u = 400 * found.xyz_mm[..., 0] / found.xyz_mm[..., 2] + 149.5
    np.testing.assert_allclose(u, found.uv_px[..., 0], atol=0.05)
    with av.open(str(tmp_path / "out" / "overlays" / "walk.mp4")) as container:
        assert container.streams.video[0].frames == 4
    assert capsys.readouterr().out.startswith("4 frames in ")


@pytest.mark.parametrize("flags", [("--hand", "left"), ("--boxes", "boxes.csv")])
def test_people_have_no_handedness(tmp_path, flags, capsys):
    small_model(tmp_path / "run", BODY)
    Image.fromarray(draw_dots(40, 40, np.array([[20, 20], [20, 5], [5, 5]]))).save(tmp_path / "0.png")
    (tmp_path / "boxes.csv").write_text("key,x0,y0,x1,y1,hand\n0,0,0,39,39,left\n")
    given = [tmp_path / flag if flag.endswith(".csv") else flag for flag in flags]
    command = ["predict", tmp_path / "run", tmp_path / "0.png", "--out", tmp_path / "out", *given]
    assert main([*map(str, command)]) == 2
    error = capsys.readouterr().err
    assert "predicts bodies (h36m17)" in error
    assert error.count("\n") == 1
