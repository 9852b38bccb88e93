import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from posebridge.cameras.pixel_maps import apply_map
from posebridge.deployment.detector import DetectOptions, Detector, network_input
from posebridge.deployment.estimator import load_estimator
from posebridge.deployment.model_file import load_model, save_model
from posebridge.deployment.model_kinds import DETECTOR, POSE
from posebridge.deployment.model_spec import DetectorSpec
from posebridge.errors import InputError
from posebridge.networks.detector import DetectorNetwork
from training.coins import SMALL

SPEC = DetectorSpec(SMALL, size_px=96)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = DetectorNetwork(SMALL)
    torch.nn.init.normal_(network.output.weight, std=0.5)
    network(torch.rand(8, 3, 64, 96))  # statistics of its batch norms
    return network.eval()


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    save_model(folder, SPEC, network, half=True)
    return folder


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_a_model_is_stored_with_16_bits(folder, network):
    stored = load_file(folder / "model.safetensors")
    assert {v.dtype for v in stored.values()} == {torch.float16, torch.int64}
    loaded = load_model(folder, DETECTOR).network
    for name, value in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=1e-3, atol=1e-4)
        assert loaded.state_dict()[name].dtype == value.dtype


def test_fused_layers_compute_the_same(folder):
    images = torch.rand(2, 3, 64, 96)
    plain = load_model(folder, DETECTOR).network
    fused = Detector.load(folder).network
    with torch.inference_mode():
        torch.testing.assert_close(fused(images), plain(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (50, 700), (31, 33)])
def test_the_map_of_the_input_is_where_its_pixels_come_from(height, width):
    """A white square is where the map puts it."""
    picture = np.zeros((height, width, 3), np.uint8)
    low = np.array([width // 4, height // 4])
    high = low + np.array([width, height]) // 2
    picture[low[1] : high[1], low[0] : high[0]] = 255
    tensor, T = network_input(picture, 320)
    assert tensor.shape[0] % 32 == tensor.shape[1] % 32 == 0
    assert max(tensor.shape[:2]) == 320
    y, x = np.nonzero(tensor[..., 0].numpy() > 128)
    inside = x < round(320 * width / max(height, width))  # the filled part is grey
    expected = apply_map(T, np.stack([low - 0.5, high - 0.5]).astype(float))
    found = [[x[inside].min() - 0.5, y[inside].min() - 0.5], [x[inside].max() + 0.5, y[inside].max() + 0.5]]
    np.testing.assert_allclose(found, expected, atol=1.0)


def test_batches_of_several_sizes_are_as_single_images(folder):
    detector = Detector.load(folder, DetectOptions(least_confidence=0.0))
    images = [image(60, 90), image(90, 60, 1), image(60, 90, 2)]
    together = detector.detect_batch(images)
    assert sum(map(len, together)) > 0
    for one, found in zip(images, together, strict=True):
        alone = detector.detect(one)
        np.testing.assert_allclose(found.boxes_xyxy, alone.boxes_xyxy, rtol=1e-3, atol=1e-2)
        assert found.hand == alone.hand


def test_options_limit_what_is_returned(folder):
    every = Detector.load(folder, DetectOptions(least_confidence=0.0)).detect(image(60, 90))
    assert (np.diff(every.confidence) <= 0).all()
    assert len(every) > 3
    most = Detector.load(folder, DetectOptions(least_confidence=0.0, most=3)).detect(image(60, 90))
    np.testing.assert_allclose(most.confidence, every.confidence[:3])
    threshold = float(every.confidence[2])
    sure = Detector.load(folder, DetectOptions(least_confidence=threshold)).detect(image(60, 90))
    assert (sure.confidence >= threshold).all()
    people = Detector.load(folder, DetectOptions(kind="person", least_confidence=0.0)).detect(image(60, 90))
    assert set(people.hand) == {None}


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_arrays_that_are_no_images(folder, array):
    with pytest.raises(InputError, match="a detector takes"):
        Detector.load(folder).detect(array)


def test_a_detector_is_no_pose_model(folder):
    with pytest.raises(InputError, match="predicts no joints"):
        load_estimator(folder, "cpu", None)
    with pytest.raises(InputError, match="kind detector"):
        load_model(folder, POSE)


@pytest.mark.parametrize("change", [{"least_confidence": 2.0}, {"largest_iou": -0.1}, {"most": 0}])
def test_impossible_options(change):
    with pytest.raises(InputError, match="is impossible"):
        DetectOptions(**change)
