import torch

from posebridge.networks.multi_task import MultiTaskNetwork
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig

SMALL = PoseResNetConfig(encoder="test_resnet", encoder_stride=16, decoder_channels=8, joints=5)


def test_joints_are_those_of_the_pose_network_and_further_maps_are_separate():
    network = MultiTaskNetwork(PoseResNet(SMALL), ("mask", "depth_map")).eval()
    images = torch.rand(2, 3, 32, 32)
    (maps,) = network(images)
    heat, depth = network.pose(images)
    assert torch.equal(maps.heat, heat)
    assert torch.equal(maps.depth, depth)
    assert maps.mask is not None
    assert maps.depth_map is not None
    assert maps.mask.shape == maps.depth_map.shape == heat[:, 0].shape
    (gradient,) = torch.autograd.grad(maps.mask.sum(), [network.heads[0].weight])
    assert gradient[0].abs().sum() > 0
    assert gradient[1].abs().sum() == 0


def test_a_task_that_is_left_out_has_no_map():
    (maps,) = MultiTaskNetwork(PoseResNet(SMALL), ("mask",))(torch.rand(1, 3, 32, 32))
    assert maps.mask is not None
    assert maps.depth_map is None
    assert maps.float().depth_map is None
