"""Models of volumes as files, predictors and ONNX graphs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from deployment.rigged import VOLUME_SPEC, change_entry, small_volume_model
from posebridge.cli.main import main
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.image_crops import ImageCrops
from posebridge.deployment.crop_predictor import load_crop_predictor
from posebridge.deployment.estimator import load_estimator
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import POSE, VOLUME_POSE
from posebridge.deployment.model_spec import PoseSpec, VolumePoseSpec
from posebridge.errors import InputError
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.representations.pose_maps import PoseMaps
from posebridge.representations.pose_volumes import PoseVolumes
from posebridge.skeletons.body import H36M17

SIDE = VOLUME_SPEC.size_px


def spec_of(volume_type: str, decoding: str) -> VolumePoseSpec:
    return replace(VOLUME_SPEC, volumes=PoseVolumes(volume_type, depth_bins=8, decoding=decoding))


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random RGB images of the model's size."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size=SIDE, mode="bicubic").clamp(0, 1)
    return (255 * fine).round().byte().permute(0, 2, 3, 1).numpy()


def crops(count: int = 3) -> ImageCrops:
    """Crops that were halved, and mirrored in every second case."""
    T_crop_file = np.repeat(np.diag([0.5, 0.5, 1.0])[None], count, axis=0).astype(np.float32)
    T_crop_file[1::2] = np.array([[-0.5, 0, SIDE - 1], [0, 0.5, 0], [0, 0, 1]])
    return ImageCrops(tuple(map(str, range(count))), pictures(count), T_crop_file, None)


@pytest.mark.parametrize("name", [".", "model.safetensors", "model.json"])
def test_round_trip_is_bit_equal(tmp_path, name):
    saved = small_volume_model(tmp_path)
    loaded = load_model(tmp_path / name)
    assert (loaded.kind, loaded.spec) == (VOLUME_POSE, VOLUME_SPEC)
    assert not loaded.network.training
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(saved(images), loaded.network(images))


@pytest.mark.parametrize("decoding", ["maximum", "mean"])
@pytest.mark.parametrize("volume_type", ["softmax", "peak"])
def test_predictions_are_the_networks(tmp_path, volume_type, decoding):
    network = small_volume_model(tmp_path, spec_of(volume_type, decoding))
    given = crops()
    with torch.no_grad():
        poses = network.predict(torch.from_numpy(given.pixels).permute(0, 3, 1, 2) / 255)
    found = load_crop_predictor(tmp_path, "cpu").predict_crops(given)
    u, v = poses.uv_px.unbind(-1)
    u[1::2] = SIDE - 1 - u[1::2]
    np.testing.assert_allclose(found.uv_px, 2 * torch.stack([u, v], dim=-1).numpy(), atol=1e-3)
    np.testing.assert_allclose(found.confidence, poses.confidence.numpy(), atol=1e-6)
    assert found.xyz_mm is not None
    root = found.xyz_mm[:, 0]
    np.testing.assert_allclose(root, np.zeros_like(root), atol=1e-3)


def test_estimators_of_the_python_api(tmp_path):
    small_volume_model(tmp_path)
    poses = load_estimator(tmp_path, "cpu").predict(pictures(2), hand="right")
    assert poses.uv_px.shape == (2, 21, 2)
    assert poses.xyz_mm is not None
    with pytest.raises(InputError, match="predicts joints without a hand model: leave mano out"):
        load_estimator(tmp_path, "cpu", mano=tmp_path / "MANO_RIGHT.pkl")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (("skeleton", "coco17"), "21 joints don't match skeleton coco17"),
        (("network", "vit", "size_px", 60), "images of 60 px can't be cut into patches of 16 px"),
        (("network", "vit", "heads", 3), "width 16 is no multiple of 3 heads"),
        (("network", "head_channels", 16), "weights of another network"),
        (("volumes", "depth_bins", 16), "weights of another network"),
        (("volumes", "volume_type", "guess"), "volume_type is 'guess'"),
        (("volumes", "depth_range", 0), r"volumes\.depth_range 0(\.0)? is impossible"),
        (("kind", "pose"), "doesn't describe a model"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(tmp_path, entry, message):
    small_volume_model(tmp_path)
    change_entry(tmp_path, *entry)
    with pytest.raises(InputError, match=message) as raised:
        load_model(tmp_path)
    assert "\n" not in str(raised.value)


def test_other_kinds_are_refused(tmp_path):
    small_volume_model(tmp_path)
    with pytest.raises(InputError, match="volume-pose, and one of kind pose is needed here; use it with posebridge"):
        load_model(tmp_path, POSE)
    assert main(["predict-depth", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "out")]) != 0


def test_specs_for_the_crops_of_another_model():
    network = PoseResNetConfig("test_resnet", joints=17)
    spec = VOLUME_SPEC.for_crops_of(PoseSpec(network, skeleton=H36M17.name, size_px=96))
    assert (spec.size_px, spec.skeleton, spec.network.joints) == (96, "h36m17", 17)
    assert (spec.network.vit.patch_px, spec.network.vit.grid) == (24, VOLUME_SPEC.network.vit.grid)
    with pytest.raises(InputError, match="images of 98 px can't be cut"):
        VOLUME_SPEC.for_crops_of(PoseSpec(network, skeleton=H36M17.name, size_px=98))
    with pytest.raises(InputError, match="the method trains a network of colour images"):
        VOLUME_SPEC.for_crops_of(PoseSpec(network, PoseMaps(cube_m=0.25), skeleton=H36M17.name, size_px=96))


@pytest.mark.slow
@pytest.mark.parametrize(("volume_type", "decoding"), [("softmax", "mean"), ("peak", "maximum")])
def test_onnx_files_predict_the_same(tmp_path, volume_type, decoding, capsys):
    pytest.importorskip("onnx", reason="the extra onnx isn't installed")
    small_volume_model(tmp_path / "model", spec_of(volume_type, decoding))
    file = tmp_path / "hand.onnx"
    assert main(["export", str(tmp_path / "model"), "--out", str(file)]) == 0
    assert "largest difference from PyTorch" in capsys.readouterr().out
    given = crops(5)  # another number than the exported example's
    ours, theirs = (load_crop_predictor(path).predict_crops(given) for path in (tmp_path / "model", file))
    np.testing.assert_allclose(theirs.uv_px, ours.uv_px, atol=2e-3)
    np.testing.assert_allclose(theirs.xyz_mm, ours.xyz_mm, rtol=1e-3, atol=0.5)
    np.testing.assert_allclose(theirs.confidence, ours.confidence, atol=1e-4)


def test_predict_command(tmp_path):
    from PIL import Image

    small_volume_model(tmp_path / "model")
    (tmp_path / "images").mkdir()
    for i, picture in enumerate(pictures(3)):
        Image.fromarray(picture).save(tmp_path / "images" / f"{i}.png")
    out = tmp_path / "out"
    typed = ["predict", str(tmp_path / "model"), str(tmp_path / "images"), "--detector", "none", "--out", str(out)]
    assert main([*typed, "--device", "cpu"]) == 0
    found = KeypointSet.load(out / "predictions.npz")
    expected = load_crop_predictor(tmp_path / "model", "cpu").predict_crops(
        ImageCrops(("0", "1", "2"), pictures(3), np.repeat(np.eye(3, dtype=np.float32)[None], 3, axis=0), None)
    )
    np.testing.assert_allclose(found.uv_px, expected.uv_px, atol=1e-2)
