from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from deployment.rigged import SPEC, DotFinder
from posebridge.cameras.crop import flip_map
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.deployment.predictor import PosePredictor
from posebridge.errors import InputError
from posebridge.networks.pose_network import HeatmapNetwork, PoseNetwork, PoseOutput, join_poses, network_as
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig
from posebridge.representations.heatmaps import image_from_map
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.hand import HAND21
from posebridge.training.selection import BoneStatistics, agreement
from training.dots import SIDE, SKELETON, Finder, dots

SMALL = PoseResNetConfig(encoder="test_resnet", encoder_stride=16, decoder_channels=8)


class MetricFinder(PoseNetwork):
    """Finds the dots, and outputs metres instead of depth."""

    cube_m = None

    def __init__(self):
        super().__init__()
        self.finder = Finder()

    def predict(self, images: Tensor) -> PoseOutput:
        poses = self.finder.predict(images)
        assert poses.relative_depth is not None
        joints = torch.cat([poses.uv_px / SIDE, poses.relative_depth[..., None]], dim=-1)
        return replace(poses, relative_depth=None, joints_m=joints - joints[:, :1])


class Flat(MetricFinder):
    """Finds the dots in the image only."""

    def predict(self, images: Tensor) -> PoseOutput:
        return replace(super().predict(images), joints_m=None)


@pytest.mark.parametrize("maps", [PoseMaps(), PoseMaps("peak", sigma=1.0), PoseMaps(cube_m=0.2)])
def test_heat_maps_are_decoded_by_the_maps(maps):
    network = PoseResNet(SMALL, maps).eval()
    images = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        poses, (heat, depth) = network.predict(images), network(images)
    read = maps.decode(heat, depth)
    assert torch.equal(poses.uv_px, image_from_map(read.uv_map, (64, 48), heat.shape[-2:]))
    assert torch.equal(poses.confidence, read.confidence)
    assert torch.equal(poses.relative_depth, read.relative_depth)
    assert poses.joints_m is None
    assert network.cube_m == maps.cube_m


def test_positions_keep_precision_in_half_precision():
    network = PoseResNet(SMALL).eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        heat, depth = network(images)
        poses = network.predict(images)
    assert heat.dtype == torch.bfloat16
    assert {poses.uv_px.dtype, poses.confidence.dtype, poses.relative_depth.dtype} == {torch.float32}
    assert torch.equal(poses.uv_px, network.decode_maps(heat.float(), depth.float(), (64, 64)).uv_px)


def test_decoding_options_are_not_in_the_state_dict():
    names = PoseResNet(SMALL).state_dict().keys()
    assert names == PoseResNet(SMALL, PoseMaps("peak", cube_m=0.3)).state_dict().keys()
    assert {name.split(".")[0] for name in names} == {"encoder", "deconvolutions", "head"}


def test_a_network_of_another_kind_is_refused():
    assert isinstance(network_as(PoseResNet(SMALL), HeatmapNetwork), nn.Module)
    with pytest.raises(InputError, match=r"^this method trains a HeatmapNetwork, and the network is a MetricFinder$"):
        network_as(MetricFinder(), HeatmapNetwork)


def test_parts_of_a_batch_are_joined():
    batch = dots(6, seed=3)
    network = MetricFinder()
    whole, parts = network.predict(batch.rgb), join_poses([network.predict(part) for part in batch.rgb.split(4)])
    torch.testing.assert_close(parts.uv_px, whole.uv_px)
    torch.testing.assert_close(parts.joints_m, whole.joints_m)
    assert parts.relative_depth is None


def test_checkpoints_of_metric_networks_are_scored():
    batch = dots(48, seed=1)
    joints = MetricFinder().predict(batch.rgb).joints_m
    assert joints is not None
    bones = BoneStatistics.of(joints, SKELETON)
    assert agreement(MetricFinder().eval(), batch.unlabelled(), SKELETON, bones) > 0.98
    far = BoneStatistics(bones.mean + 9, bones.deviation)
    assert agreement(MetricFinder().eval(), batch.unlabelled(), SKELETON, far) == 0
    with pytest.raises(ValueError, match="neither depth nor metres"):
        agreement(Flat().eval(), batch.unlabelled(), SKELETON, bones)


class Metric21(PoseNetwork):
    """The same joints in metres for every image."""

    cube_m = None

    def __init__(self, joints_m: Tensor | None):
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(()))
        self.joints_m = joints_m

    def predict(self, images: Tensor) -> PoseOutput:
        uv_px, confidence = torch.zeros(len(images), 21, 2), torch.ones(len(images), 21)
        return PoseOutput(uv_px, confidence, joints_m=self.joints_m)


def test_metres_have_the_axes_of_the_file():
    """A crop may scale, rotate and mirror the image."""
    joints_m = torch.rand(1, len(HAND21), 3, generator=torch.Generator().manual_seed(0))
    quarter = torch.tensor([[[0.0, -2.0, 64.0], [2.0, 0.0, 3.0], [0.0, 0.0, 1.0]]])  # x of the file is y of the crop
    images = torch.zeros(1, 3, 64, 64)
    predictor = PosePredictor(SPEC, Metric21(joints_m))
    x, y, z = (1000 * joints_m).unbind(-1)
    for T, expected in (
        (None, (x, y, z)),
        (3 * torch.eye(3)[None] - torch.diag(torch.tensor([0.0, 0, 2])), (x, y, z)),
        (flip_map(64), (-x, y, z)),
        (quarter, (y, -x, z)),
    ):
        found = predictor.predict_batch(UnlabelledBatch(images, ("a",), T_crop_file=T)).xyz_mm
        torch.testing.assert_close(torch.from_numpy(found), torch.stack(expected, -1))
    assert PosePredictor(SPEC, Metric21(None)).predict_batch(UnlabelledBatch(images, ("a",))).xyz_mm is None


def test_models_without_reference_length_predict_no_metres():
    spec = replace(SPEC, reference_length_m=None)
    images = torch.zeros(1, 3, 64, 64)
    images[:, :, 20:24, 30:34] = 1
    assert PosePredictor(spec, DotFinder()).predict_batch(UnlabelledBatch(images, ("a",))).xyz_mm is None
