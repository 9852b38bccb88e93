"""Models of aligned latent spaces as files, predictors and ONNX graphs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from deployment.rigged import ALIGNED_SPEC, change_entry, small_aligned_model
from deployment.test_volume_models import crops
from posebridge.cameras.pinhole import Camera
from posebridge.cameras.view_correction import view_axes
from posebridge.cli.main import main
from posebridge.data.crops import batch_of
from posebridge.data.image_crops import ImageCrops
from posebridge.deployment.crop_predictor import load_crop_predictor
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import ALIGNED_POSE
from posebridge.deployment.model_spec import AlignedPoseSpec
from posebridge.errors import InputError
from posebridge.geometry.boxes import JOINT_BOX_PADDING
from posebridge.skeletons.hand import HAND21

SIDE = ALIGNED_SPEC.size_px
K = np.array([[200.0, 0, 10], [0, 200, 300], [0, 0, 1]])  # crops lie beside the middle of the image


def spec_with(**changes) -> AlignedPoseSpec:
    return replace(ALIGNED_SPEC, network=replace(ALIGNED_SPEC.network, **changes))


def crops_of_a_camera(count: int = 3) -> ImageCrops:
    return replace(crops(count), K=np.repeat(K[None], count, axis=0).astype(np.float32))


def network_output(network, given: ImageCrops):
    with torch.no_grad():
        return network.predict(torch.from_numpy(given.pixels).permute(0, 3, 1, 2) / 255)


@pytest.mark.parametrize("maps", [True, False])
def test_round_trip_is_bit_equal(tmp_path, maps):
    """The file has image encoder, pose decoder, and decoder of heat maps where there is one; nothing else."""
    spec = ALIGNED_SPEC if maps else spec_with(heat_maps=None)
    saved = small_aligned_model(tmp_path, spec)
    loaded = load_model(tmp_path)
    assert (loaded.kind, loaded.spec) == (ALIGNED_POSE, spec)
    one, other = (network_output(network, crops()) for network in (saved, loaded.network))
    assert torch.equal(one.uv_px, other.uv_px)
    assert torch.equal(one.joints_m, other.joints_m)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        parts = {name.partition(".")[0] for name in file.keys()}  # noqa: SIM118  # no mapping
    assert parts == {"encoder", "pose_decoder", *(["heat_decoder"] if maps else [])}


def test_poses_are_relative_to_the_root_in_metres(tmp_path):
    network = small_aligned_model(tmp_path)
    output = network_output(network, crops())
    latent = network.encoder(torch.from_numpy(crops().pixels).permute(0, 3, 1, 2) / 255).mean
    decoded = network.pose_decoder(latent).view(-1, 21, 3)
    torch.testing.assert_close(output.joints_m, 0.1 * (decoded - decoded[:, :1]))
    torch.testing.assert_close(output.relative_depth, output.joints_m[..., 2] / 0.1)


def test_without_heat_maps_the_padded_box_of_the_joints_fills_the_crop(tmp_path):
    output = network_output(small_aligned_model(tmp_path, spec_with(heat_maps=None)), crops())
    low, high = output.uv_px.amin(dim=1), output.uv_px.amax(dim=1)
    torch.testing.assert_close((high - low).amax(dim=1), torch.full((3,), SIDE / JOINT_BOX_PADDING))
    torch.testing.assert_close((high + low) / 2, torch.full((3, 2), (SIDE - 1) / 2))
    across = output.joints_m[:, 5, :2] - output.joints_m[:, 9, :2]  # the picture is the pose, scaled
    across_px = output.uv_px[:, 5] - output.uv_px[:, 9]
    torch.testing.assert_close(
        across / across.norm(dim=1, keepdim=True), across_px / across_px.norm(dim=1, keepdim=True)
    )
    assert ((output.confidence >= 0) & (output.confidence <= 1)).all()


def test_with_heat_maps_joints_are_their_maxima(tmp_path):
    network = small_aligned_model(tmp_path)
    output = network_output(network, crops())
    maps = network.heat_decoder(network.encoder(torch.from_numpy(crops().pixels).permute(0, 3, 1, 2) / 255).mean)
    row, column = (maps.flatten(2).argmax(-1) // 16).float(), (maps.flatten(2).argmax(-1) % 16).float()
    expected = 4 * torch.stack([column, row], -1) + 1.5  # the middle of a map's pixel
    assert (output.uv_px - expected).abs().max() <= 2.01


@pytest.mark.parametrize("corrected", [True, False])
def test_predictions_with_a_camera_are_in_its_axes(tmp_path, corrected):
    """Poses of the crop's view are turned back, mirror images and all."""
    network = small_aligned_model(tmp_path, spec_with(view_correction=corrected))
    given = crops_of_a_camera()
    joints_m = network_output(network, given).joints_m
    camera = Camera(torch.from_numpy(given.T_crop_file @ given.K))
    T = view_axes(camera, SIDE, SIDE, corrected)
    expected = torch.stack([(matrix.T @ pose.T).T for matrix, pose in zip(T, joints_m, strict=True)])
    found = load_crop_predictor(tmp_path, "cpu").predict_crops(given)
    np.testing.assert_allclose(found.xyz_mm, 1000 * expected.numpy(), atol=1e-2)
    lengths = np.linalg.norm(found.xyz_mm, axis=-1)
    np.testing.assert_allclose(lengths, 1000 * joints_m.norm(dim=-1).numpy(), atol=1e-2)


def test_predictions_without_a_camera_have_the_axes_of_the_file(tmp_path):
    network = small_aligned_model(tmp_path)
    expected = 1000 * network_output(network, crops()).joints_m.numpy()
    expected[1::2, :, 0] *= -1  # mirrored crops
    found = load_crop_predictor(tmp_path, "cpu").predict_crops(crops())
    np.testing.assert_allclose(found.xyz_mm, expected, atol=1e-2)


def test_without_a_length_joints_in_space_are_unknown(tmp_path):
    small_aligned_model(tmp_path, replace(ALIGNED_SPEC, reference_length_m=None))
    loaded = load_model(tmp_path)
    assert loaded.network.predict(batch_of(crops()).rgb).joints_m is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (("skeleton", "coco17"), "21 joints don't match skeleton coco17"),
        (("network", "latent", 4), "weights of another network"),
        (("network", "heat_maps", "side", 20), "pictures of 20 px can't be decoded"),
        (("kind", "pose"), "doesn't describe a model"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(tmp_path, entry, message):
    small_aligned_model(tmp_path)
    change_entry(tmp_path, *entry)
    with pytest.raises(InputError, match=message) as raised:
        load_model(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"heat_maps": None}, {"view_correction": False}])
def test_onnx_files_predict_the_same(tmp_path, changes):
    pytest.importorskip("onnx", reason="the extra onnx isn't installed")
    small_aligned_model(tmp_path / "model", spec_with(**changes))
    file = tmp_path / "hand.onnx"
    assert main(["export", str(tmp_path / "model"), "--out", str(file)]) == 0
    for given in (crops(5), crops_of_a_camera(5)):
        ours, theirs = (load_crop_predictor(path).predict_crops(given) for path in (tmp_path / "model", file))
        np.testing.assert_allclose(theirs.uv_px, ours.uv_px, atol=2e-3)
        np.testing.assert_allclose(theirs.xyz_mm, ours.xyz_mm, atol=1e-2)
        np.testing.assert_allclose(theirs.confidence, ours.confidence, atol=1e-4)
    assert ours.joint_names == HAND21.joints
