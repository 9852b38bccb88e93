"""The stacked hourglass: sizes, what a stack takes from the one before, and its files."""

from dataclasses import replace

import pytest
import torch

from posebridge.cli.main import main
from posebridge.deployment.crop_predictor import load_crop_predictor
from posebridge.deployment.model_file import load_model, save_model
from posebridge.deployment.model_kinds import HOURGLASS_POSE, kind_of_spec
from posebridge.deployment.model_spec import HourglassPoseSpec, PoseSpec
from posebridge.errors import InputError
from posebridge.networks.hourglass import HourglassConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.networks.stacked_hourglass import StackedHourglass, StackedHourglassConfig
from posebridge.representations.pose_maps import PoseMaps

CONFIG = StackedHourglassConfig(
    map_px=32, width=8, hourglass=HourglassConfig(blocks=2, channels=4, most_channels=8), stacks=2
)
SPEC = HourglassPoseSpec(CONFIG, size_px=64, reference_length_m=0.1)


def network(config: StackedHourglassConfig = CONFIG) -> StackedHourglass:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = StackedHourglass(config, PoseMaps("softmax", decoding="mean"))
        for head in made.heads:
            torch.nn.init.normal_(head.weight)
    return made.eval()


def images(count: int = 2, side: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("side", [32, 64, 96])
def test_maps_have_their_size_for_images_of_a_multiple(side):
    made = network()
    features = made.map_features(images(side=side))
    assert [tuple(f.shape) for f in features] == [(2, 8, 32, 32)] * 2
    heat, depth = made(images(side=side))
    assert heat.shape == depth.shape == (2, 21, 32, 32)
    assert torch.equal(heat, made.maps_of(features[-1], 1)[0])


def test_larger_images_count_as_their_averages():
    small = torch.nn.functional.avg_pool2d(images(), 2)
    assert torch.allclose(network()(images())[0], network()(small)[0], atol=1e-5)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(40, 40\) px can't be averaged to 32"):
        network()(images(side=40))


@torch.no_grad()
def test_a_stack_takes_features_and_maps_of_the_one_before():
    made = network()
    before = made.map_features(images())
    made.heads[0].weight += 1
    after = made.map_features(images())
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])
    made.from_maps[0].weight.zero_()
    made.from_maps[0].bias.zero_()
    without_maps = made.map_features(images())
    made.from_features[0].weight += 1
    assert not torch.allclose(without_maps[1], made.map_features(images())[1])


def test_one_stack_is_an_hourglass_with_a_head():
    made = network(replace(CONFIG, stacks=1))
    assert (len(made.heads), len(made.from_maps)) == (1, 0)
    assert len(made.map_features(images())) == 1


def test_the_model_file_round_trip_is_bit_equal(tmp_path):
    made = network()
    save_model(tmp_path, SPEC, made)
    loaded = load_model(tmp_path)
    assert (loaded.kind, loaded.spec) == (HOURGLASS_POSE, SPEC)
    assert torch.equal(loaded.network(images())[0], made(images())[0])


def test_crops_of_another_model_are_averaged_to_the_maps():
    other = PoseSpec(PoseResNetConfig(encoder="test_resnet"), size_px=128)
    spec = SPEC.for_crops_of(other)
    assert (spec.size_px, spec.network.map_px) == (128, 32)
    kind_of_spec(spec).build(spec)
    with pytest.raises(InputError, match="crops of 100 px can't be averaged to 32 px"):
        SPEC.for_crops_of(replace(other, size_px=100))
    with pytest.raises(InputError, match="these are depth"):
        SPEC.for_crops_of(replace(other, maps=PoseMaps(cube_m=0.25)))
    with pytest.raises(InputError, match="leave --encoder-weights out"):
        SPEC.with_encoder_weights("timm")
    assert SPEC.with_stacks(3).network.stacks == 3


@pytest.mark.slow
def test_onnx_files_predict_the_same(tmp_path):
    pytest.importorskip("onnx", reason="the extra onnx isn't installed")
    from deployment.test_volume_models import crops

    save_model(tmp_path / "model", SPEC, network())
    assert main(["export", str(tmp_path / "model"), "--out", str(tmp_path / "hand.onnx")]) == 0
    ours, theirs = (load_crop_predictor(tmp_path / name).predict_crops(crops(5)) for name in ("model", "hand.onnx"))
    assert abs(ours.uv_px - theirs.uv_px).max() < 2e-3
    assert abs(ours.confidence - theirs.confidence).max() < 1e-4
