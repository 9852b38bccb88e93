"""The heat-map networks of presets for colour images."""

from posebridge.deployment.model_spec import PoseSpec
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton


def small_pose(skeleton: Skeleton, size_px: int) -> PoseSpec:
    """For two CPU cores: ResNet-18 up to stride 16, with skip connections and a soft arg-max."""
    return PoseSpec(
        network=PoseResNetConfig(
            encoder="resnet18", encoder_stride=16, decoder_channels=64, skips=True, joints=len(skeleton)
        ),
        maps=PoseMaps("softmax", sigma=1.5),
        skeleton=skeleton.name,
        size_px=size_px,
    )


def full_pose(skeleton: Skeleton, pretrained: str = PoseResNetConfig.pretrained) -> PoseSpec:
    """The papers' network, for a GPU: ResNet-101 at 256 px. ``pretrained`` names its encoder's initial weights."""
    return PoseSpec(
        network=PoseResNetConfig(encoder="resnet101", pretrained=pretrained, joints=len(skeleton)),
        maps=PoseMaps("peak", sigma=2.0),
        skeleton=skeleton.name,
        size_px=256,
    )
