"""Joints and hand model parameters from a depth crop (Ren et al., CVPR 2022, Sec. 3.1)."""

from dataclasses import dataclass, field, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from posebridge.bodies.parametric_hand import SHAPE_SIZE, HandParameters
from posebridge.geometry.offset_maps import OffsetMaps, decode_offsets, encode_offsets, normalised_weights
from posebridge.networks.encoder_decoder import EncoderDecoder
from posebridge.networks.hourglass import Hourglass, HourglassConfig, conv_bn_relu
from posebridge.skeletons.hand import HAND21

_UPRIGHT = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # fingers up, palm to the camera
_PALM = [HAND21.index(joint) for joint in ("wrist", "index_1", "pinky_1")]
_MIN_LENGTH = 1e-6  # smallest length by which a vector is divided


@dataclass(frozen=True)
class DepthHandConfig:
    """Defaults are the paper's network: ResNet-18 at 128 px, maps of 64 px. Lengths are in halves of the cube."""

    encoder: str = "resnet18"  # any timm model that has features_only
    pretrained: str = "none"  # "none", "timm" (download), or the path of a local weights file
    joints: int = 21
    encoder_stride: int = 16  # of the deepest features in use; maps come out at an eighth of it
    decoder_channels: int = 256
    skips: bool = True
    stacks: int = 1  # 2: a second stage refines the output of the first
    stack: HourglassConfig = field(default_factory=lambda: HourglassConfig(blocks=3, channels=64, most_channels=256))
    pose_size: int = 22  # of the hand model
    shape_size: int = SHAPE_SIZE
    # None: one layer on the crop's features regresses the hand model, as in the paper. A number: two hidden layers of
    # this width precede it. They also take the pixel-wise joints in the frame of the palm, which separates finger
    # articulation from global rotation.
    parameter_head_width: int | None = None
    max_distance: float = 0.8  # d of Eq. 1
    sharpness: float = 30.0  # factor on weight maps before their softmax


@dataclass(frozen=True)
class ViewPrediction:
    """What the network predicts for each of B views, in the normalised cube of the view."""

    maps: OffsetMaps
    weights: Float[Tensor, "B J h w"]  # sum to one over the pixels of the hand
    joints: Float[Tensor, "B J 3"]  # Eq. 3
    hand: HandParameters
    features: Float[Tensor, "B C h w"]  # decoder output
    max_distance: float  # d of Eq. 1
    points: Float[Tensor, "B 3 h w"]  # input: the point that each pixel observes
    surface: Bool[Tensor, "B h w"]  # input: pixels whose point belongs to the hand

    @property
    def quality(self) -> Float[Tensor, "B J"]:
        """Peak of each joint's weight map (Sec. 3.2), in [0, 1]."""
        return self.weights.flatten(2).amax(-1)

    def confidence(self) -> Float[Tensor, "B J"]:
        """Weighted mean of the heat map: 1 if the weighted pixels lie on the joint, 0 at ``max_distance``."""
        return (self.weights * self.maps.heat).sum((2, 3)).clamp(0, 1)

    def take(self, index: Int[Tensor, "n"]) -> "ViewPrediction":
        """The views at the given positions, in that order."""
        maps = OffsetMaps(self.maps.heat[index], self.maps.direction[index])
        hand = HandParameters(*(getattr(self.hand, f.name)[index] for f in fields(HandParameters)))
        return ViewPrediction(
            maps=maps,
            weights=self.weights[index],
            joints=self.joints[index],
            hand=hand,
            features=self.features[index],
            max_distance=self.max_distance,
            points=self.points[index],
            surface=self.surface[index],
        )

    def pooled_features(self) -> Float[Tensor, "B J C"]:
        """Decoder features pooled by each joint's weight map (Sec. 3.2)."""
        return torch.einsum("bjhw,bchw->bjc", self.weights, self.features)


class DepthHandNet(EncoderDecoder):
    """Predicts a ``ViewPrediction`` for each stack from depth crops."""

    def __init__(self, config: DepthHandConfig):
        width = config.decoder_channels
        super().__init__(config.encoder, config.pretrained, config.encoder_stride, width, config.skips)
        self.config = config
        self.pixel_head = _PixelHead(width, config.joints)
        self.parameter_head = ParameterHead(self.encoder_channels, config)
        self.later_stacks = nn.ModuleList(_Stack(config) for _ in range(config.stacks - 1))

    def forward(
        self,
        picture: Float[Tensor, "B 1 H W"],
        points: Float[Tensor, "B 3 h w"],
        surface: Bool[Tensor, "B h w"],
    ) -> list[ViewPrediction]:
        """The predictions of all stacks; the last one is the result.

        ``picture`` is normalised depth in [-1, 1] from ``CubeViews.picture``. ``points`` and ``surface`` come from
        ``CubeViews.points`` with the network's ``map_stride``.
        """
        features = self.features((1 - picture.expand(-1, 3, -1, -1)) / 2)
        x = self.upwards(features)
        pooled = features[-1].mean((2, 3))
        predictions = [self._decode(self.pixel_head(x), self.parameter_head, pooled, x, points, surface)]
        for stack in self.later_stacks:
            assert isinstance(stack, _Stack)
            x, pooled = stack(x, predictions[-1])
            predictions.append(self._decode(stack.pixel_head(x), stack.parameter_head, pooled, x, points, surface))
        return predictions

    def _decode(
        self, raw: Tensor, head: "ParameterHead", pooled: Tensor, features: Tensor, points: Tensor, surface: Tensor
    ) -> ViewPrediction:
        """Decodes maps and parameters in float32; the networks may run in half precision."""
        J = self.config.joints
        heat, direction, weight = raw.float().contiguous().split([J, 3 * J, J], dim=1)
        maps = OffsetMaps(heat, direction.unflatten(1, (J, 3)))
        with torch.autocast(raw.device.type, enabled=False):
            weights = normalised_weights(self.config.sharpness * weight, surface)
            joints = decode_offsets(points, maps, weights, self.config.max_distance)
        return ViewPrediction(
            maps=maps,
            weights=weights,
            joints=joints,
            hand=head(pooled, joints),
            features=features.float(),
            max_distance=self.config.max_distance,
            points=points,
            surface=surface,
        )


class _PixelHead(nn.Conv2d):
    """Predicts heat, direction and weight maps of every joint."""

    def __init__(self, width: int, joints: int):
        super().__init__(width, 5 * joints, 1)
        nn.init.normal_(self.weight, std=0.001)
        assert self.bias is not None
        nn.init.zeros_(self.bias)


class ParameterHead(nn.Module):
    """Regresses hand model parameters from pooled features of a crop.

    Initialised to the mean hand at the centre of the cube, or at the given joints if
    ``DepthHandConfig.parameter_head_width`` is set. Raises ``ValueError`` if that is set and the joints are not those
    of ``HAND21``.
    """

    def __init__(self, inputs: int, config: DepthHandConfig):
        super().__init__()
        self.sizes = (config.pose_size, config.shape_size, 6, 3)
        self.uses_joints = config.parameter_head_width is not None
        self.hidden = nn.Identity()
        if config.parameter_head_width is not None:
            if config.joints != len(HAND21):
                raise ValueError(
                    f"parameter_head_width needs the joints of {HAND21.name}, but the network has {config.joints}: "
                    "give parameter_head_width=None"
                )
            inputs, width = inputs + 3 * config.joints + 9 + 3, config.parameter_head_width
            self.hidden = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            inputs = width
        self.layer = nn.Linear(inputs, sum(self.sizes))
        nn.init.normal_(self.layer.weight, std=0.001)
        nn.init.zeros_(self.layer.bias)

    def forward(self, pooled: Float[Tensor, "B C"], joints: Float[Tensor, "B J 3"]) -> HandParameters:
        """Parameters in the space of the joints. No gradient reaches the joints; see ``with_joint_gradients``."""
        R, middle = _UPRIGHT.to(joints), joints.new_zeros(3)
        if self.uses_joints:
            joints = joints.detach()
            R, middle = palm_frame(joints), joints.mean(1)
            with torch.autocast(joints.device.type, enabled=False):
                joint_features = ((joints - middle[:, None]) @ R).flatten(1), R.flatten(1), middle
            pooled = torch.cat([pooled, *(value.to(pooled) for value in joint_features)], dim=1)
        pose, shape, six, shift = self.layer(self.hidden(pooled)).float().split(self.sizes, dim=-1)
        rotation = rotation_from_6d(six + six.new_tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
        with torch.autocast(joints.device.type, enabled=False):
            return HandParameters(pose, shape, R @ rotation, middle + shift)


class _Stack(nn.Module):
    """Refines features from the prediction of the stage before (after Ren et al., SRN, BMVC 2019)."""

    def __init__(self, config: DepthHandConfig):
        super().__init__()
        width = config.decoder_channels
        self.config = config
        self.fuse = conv_bn_relu(width + 9 * config.joints, config.stack.channels, size=1)
        self.hourglass = Hourglass(config.stack, config.stack.channels)
        self.project = nn.Conv2d(self.hourglass.outputs, width, 1)
        self.pixel_head = _PixelHead(width, config.joints)
        self.parameter_head = ParameterHead(width, config)

    def forward(self, x: Tensor, previous: ViewPrediction) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B C"]]:
        """Refined features, and their mean over the crop."""
        # Maps that the predicted joints imply, beside the predicted maps.
        implied = encode_offsets(previous.points, previous.surface, previous.joints, previous.max_distance)
        predicted = [x, previous.maps.heat, previous.maps.direction.flatten(1, 2), previous.weights]
        stacked = torch.cat([*predicted, implied.heat, implied.direction.flatten(1, 2)], dim=1)
        x = x + self.project(self.hourglass(self.fuse(stacked.to(x))))
        return x, x.mean((2, 3))


def with_joint_gradients(hands: HandParameters, joints: Float[Tensor, "B J 3"]) -> HandParameters:
    """The same hands, with gradients of rotation and centre passed on to the joints that the head took as input.

    For losses without labels. Supervised losses train the joints directly.
    """
    R, middle = palm_frame(joints), joints.mean(1)
    rotation = R @ R.detach().mT @ hands.R
    return HandParameters(hands.pose, hands.shape, rotation, hands.centre + middle - middle.detach())


def palm_frame(joints: Float[Tensor, "B 21 3"]) -> Float[Tensor, "B 3 3"]:
    """Rotation whose columns are the axes of right hands with the joints of ``HAND21``.

    x points to the index knuckle, y to the fingers, z out of the palm. Where joints coincide, the rotation is the one
    of an upright hand with its palm to the camera.
    """
    wrist, first, last = (joints[:, joint] for joint in _PALM)
    along, across = (first + last) / 2 - wrist, first - last
    y, x, _ = rotation_from_6d(torch.cat([along, across], dim=1)).unbind(-1)
    R = torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)
    valid = torch.linalg.det(R)[:, None, None] > 0.5  # the determinant is 0 where an axis has no length
    return torch.where(valid, R, _UPRIGHT.to(R))


def rotation_from_6d(six: Float[Tensor, "B 6"]) -> Float[Tensor, "B 3 3"]:
    """Rotation matrix from its first two columns, made orthonormal (Zhou et al., CVPR 2019).

    Columns that are zero or parallel give finite values and gradients, but no rotation.
    """
    first, second = six[:, :3], six[:, 3:]
    x = first / first.norm(dim=-1, keepdim=True).clamp_min(_MIN_LENGTH)
    across = second - (x * second).sum(-1, keepdim=True) * x
    y = across / across.norm(dim=-1, keepdim=True).clamp_min(_MIN_LENGTH)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)
