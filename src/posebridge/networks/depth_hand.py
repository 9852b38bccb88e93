"""A depth crop to joints, pixel by pixel, and to a hand model's parameters (Ren et al., CVPR 2022, Sec. 3.1)."""

from dataclasses import dataclass, field, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from posebridge.bodies.parametric_hand import HandParameters
from posebridge.geometry.offset_maps import OffsetMaps, decode_offsets, encode_offsets, normalised_weights
from posebridge.networks.encoder_decoder import EncoderDecoder
from posebridge.networks.hourglass import Hourglass, HourglassConfig, conv_bn_relu
from posebridge.skeletons.hand import HAND21

_UPRIGHT = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # fingers up, palm to the camera
_PALM = [HAND21.index(joint) for joint in ("wrist", "index_1", "pinky_1")]
_LEAST = 1e-6  # length of what has a direction


@dataclass(frozen=True)
class DepthHandConfig:
    """Defaults are the paper's network: ResNet-18 at 128 px, maps of 64 px. Lengths are in halves of the cube."""

    encoder: str = "resnet18"  # any timm model that has features_only
    pretrained: str = "none"  # "none", "timm" (download), or the path of a local weights file
    joints: int = 21
    encoder_stride: int = 16  # of the deepest features in use; maps come out at an eighth of it
    decoder_channels: int = 256
    skips: bool = True
    stacks: int = 1  # 2: a second stage that sees what the first has found
    stack: HourglassConfig = field(default_factory=lambda: HourglassConfig(blocks=3, channels=64, most_channels=256))
    pose_size: int = 22  # of the hand model
    shape_size: int = 6
    # The hand model by one layer on the crop's features, as in the paper; or by two more of this width, that are also
    # told where the pixels have the joints, as the palm sees them: how fingers are bent is then said apart from how the
    # hand is turned.
    parameter_head_width: int | None = None
    max_distance: float = 0.8  # d of Eq. 1
    sharpness: float = 30.0  # by which weight maps are multiplied before their softmax


@dataclass(frozen=True)
class ViewPrediction:
    """What one view tells, in the view's own space."""

    maps: OffsetMaps
    weights: Float[Tensor, "B J h w"]  # sum to one over the pixels of the hand
    joints: Float[Tensor, "B J 3"]  # Eq. 3
    hand: HandParameters
    features: Float[Tensor, "B C h w"]  # of the decoder
    max_distance: float  # d of Eq. 1
    points: Float[Tensor, "B 3 h w"]  # what its pixels see,
    surface: Bool[Tensor, "B h w"]  # and whether it is the hand

    @property
    def quality(self) -> Float[Tensor, "B J"]:
        """The weight map's peak (Sec. 3.2)."""
        return self.weights.flatten(2).amax(-1)

    def confidence(self) -> Float[Tensor, "B J"]:
        """How near to each joint the pixels are whose word counts: 1 where they lie on it, 0 at ``reach``."""
        return (self.weights * self.maps.heat).sum((2, 3)).clamp(0, 1)

    def take(self, index: Int[Tensor, "n"]) -> "ViewPrediction":
        """The views at the given positions, in that order."""
        maps = OffsetMaps(self.maps.heat[index], self.maps.direction[index])
        hand = HandParameters(*(getattr(self.hand, f.name)[index] for f in fields(HandParameters)))
        seen = (self.weights[index], self.joints[index], hand, self.features[index])
        return ViewPrediction(maps, *seen, self.max_distance, self.points[index], self.surface[index])

    def pooled_features(self) -> Float[Tensor, "B J C"]:
        """What is seen around each joint: features under its weight map (Sec. 3.2)."""
        return torch.einsum("bjhw,bchw->bjc", self.weights, self.features)


class DepthHandNet(EncoderDecoder):
    """Depth crops to ``ViewPrediction``, one for each stack."""

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
        """``picture`` is in [-1, 1] as ``CubeViews.picture`` gives it, the rest as ``CubeViews.points`` does with the
        network's ``map_stride``. The last of the stacks is the one that counts.
        """
        features = self.features((1 - picture.expand(-1, 3, -1, -1)) / 2)
        x = self.upwards(features)
        found = [self._read(self.pixel_head(x), self.parameter_head, features[-1].mean((2, 3)), x, points, surface)]
        for stack in self.later_stacks:
            assert isinstance(stack, _Stack)
            x, whole = stack(x, found[-1])
            found.append(self._read(stack.pixels(x), stack.whole, whole, x, points, surface))
        return found

    def _read(
        self, raw: Tensor, head: "ParameterHead", whole: Tensor, features: Tensor, points: Tensor, surface: Tensor
    ) -> ViewPrediction:
        """Maps and parameters in full precision; their networks may have had less."""
        J = self.config.joints
        heat, direction, weight = raw.float().contiguous().split([J, 3 * J, J], dim=1)
        maps = OffsetMaps(heat, direction.unflatten(1, (J, 3)))
        with torch.autocast(raw.device.type, enabled=False):
            weights = normalised_weights(self.config.sharpness * weight, surface)
            joints = decode_offsets(points, maps, weights, self.config.max_distance)
        return ViewPrediction(
            maps, weights, joints, head(whole, joints), features.float(), self.config.max_distance, points, surface
        )


class _PixelHead(nn.Conv2d):
    """Distances, directions and weights of every joint at every pixel."""

    def __init__(self, width: int, joints: int):
        super().__init__(width, 5 * joints, 1)
        nn.init.normal_(self.weight, std=0.001)
        assert self.bias is not None
        nn.init.zeros_(self.bias)


class ParameterHead(nn.Module):
    """Features of the whole hand to a hand model; begins with the mean hand, in the middle of the cube or where it is
    told that the joints are.
    """

    def __init__(self, inputs: int, config: DepthHandConfig):
        super().__init__()
        self.sizes = (config.pose_size, config.shape_size, 6, 3)
        self.uses_joints = config.parameter_head_width is not None
        self.hidden = nn.Identity()
        if config.parameter_head_width is not None:
            if config.joints != len(HAND21):
                raise ValueError(
                    f"parameter_head_width needs the joints of {HAND21.name}, and these are {config.joints}"
                )
            inputs, width = inputs + 3 * config.joints + 9 + 3, config.parameter_head_width
            self.hidden = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            inputs = width
        self.layer = nn.Linear(inputs, sum(self.sizes))
        nn.init.normal_(self.layer.weight, std=0.001)
        nn.init.zeros_(self.layer.bias)

    def forward(self, whole: Float[Tensor, "B C"], joints: Float[Tensor, "B J 3"]) -> HandParameters:
        """In the space of the joints, which get no gradient from here; see ``with_joint_gradients``."""
        R, middle = _UPRIGHT.to(joints), joints.new_zeros(3)
        if self.uses_joints:
            joints = joints.detach()
            R, middle = palm_frame(joints), joints.mean(1)
            with torch.autocast(joints.device.type, enabled=False):
                told = ((joints - middle[:, None]) @ R).flatten(1), R.flatten(1), middle
            whole = torch.cat([whole, *(value.to(whole) for value in told)], dim=1)
        pose, shape, turn, shift = self.layer(self.hidden(whole)).float().split(self.sizes, dim=-1)
        turned = rotation_from_6d(turn + turn.new_tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
        with torch.autocast(joints.device.type, enabled=False):
            return HandParameters(pose, soft_clamp(shape), R @ turned, middle + shift)


class _Stack(nn.Module):
    """Looks again, at features and at what was found (after Ren et al., SRN, BMVC 2019)."""

    def __init__(self, config: DepthHandConfig):
        super().__init__()
        width = config.decoder_channels
        self.config = config
        self.together = conv_bn_relu(width + 9 * config.joints, config.stack.channels, size=1)
        self.hourglass = Hourglass(config.stack, config.stack.channels)
        self.back = nn.Conv2d(self.hourglass.outputs, width, 1)
        self.pixels = _PixelHead(width, config.joints)
        self.whole = ParameterHead(width, config)

    def forward(self, x: Tensor, found: ViewPrediction) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B C"]]:
        """Features, and those of the whole crop."""
        again = encode_offsets(found.points, found.surface, found.joints, found.max_distance)  # what the joints imply
        told = [x, found.maps.heat, found.maps.direction.flatten(1, 2), found.weights]
        seen = torch.cat([*told, again.heat, again.direction.flatten(1, 2)], dim=1)
        x = x + self.back(self.hourglass(self.together(seen.to(x))))
        return x, x.mean((2, 3))


def soft_clamp(shape: Float[Tensor, "B S"], free: float = 2.0, most: float = 3.0) -> Float[Tensor, "B S"]:
    """As it is up to ``free`` standard deviations, and smoothly on to ``most`` of them, which it never reaches.

    Without a bound fine-tuning can run away: a giant's skin is near to whatever was measured.
    """
    beyond = (shape.abs() - free).clamp_min(0)
    room = most - free
    return shape.clamp(-free, free) + shape.sign() * room * (beyond / room).tanh()


def with_joint_gradients(hands: HandParameters, joints: Float[Tensor, "B J 3"]) -> HandParameters:
    """The same hands, but what turns and moves them turns and moves the joints on which a head was told that they lie.

    This is for losses without labels. Labels teach the joints themselves, and better.
    """
    R, middle = palm_frame(joints), joints.mean(1)
    turned = R @ R.detach().mT @ hands.R
    return HandParameters(hands.pose, hands.shape, turned, hands.centre + middle - middle.detach())


def palm_frame(joints: Float[Tensor, "B 21 3"]) -> Float[Tensor, "B 3 3"]:
    """Axes of right hands (``HAND21``) as columns: x to the index's knuckle, y to the fingers, z out of the palm.

    Upright where joints coincide.
    """
    wrist, first, last = (joints[:, joint] for joint in _PALM)
    along, across = (first + last) / 2 - wrist, first - last
    y, x, _ = rotation_from_6d(torch.cat([along, across], dim=1)).unbind(-1)
    R = torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)
    seen = torch.linalg.det(R)[:, None, None] > 0.5  # else 0, for want of a length
    return torch.where(seen, R, _UPRIGHT.to(R))


def rotation_from_6d(six: Float[Tensor, "B 6"]) -> Float[Tensor, "B 3 3"]:
    """A rotation by its first two columns, made orthonormal (Zhou et al., CVPR 2019).

    Columns of no length, or along one another, give finite numbers and gradients, but no rotation.
    """
    first, second = six[:, :3], six[:, 3:]
    x = first / first.norm(dim=-1, keepdim=True).clamp_min(_LEAST)
    across = second - (x * second).sum(-1, keepdim=True) * x
    y = across / across.norm(dim=-1, keepdim=True).clamp_min(_LEAST)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)
