"""What every pose network offers: images in; joints in pixels, confidence, and depth or metres out."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.errors import InputError
from posebridge.representations.heatmaps import image_from_map
from posebridge.representations.pose_maps import PoseMaps

NetworkT = TypeVar("NetworkT", bound=nn.Module)


@dataclass(frozen=True)
class PoseOutput:
    """Poses of a batch of B images, J joints each. A field that a network doesn't predict is None.

    ``relative_depth`` is (z - z_root) / length of the reference bone for colour images. For depth crops of a metric
    cube it is (z - z_centre) / (side / 2). A network's ``joints_m`` are relative to the root joint, with the axes of
    the image: x right, y down, z away from the camera.
    """

    uv_px: Float[Tensor, "B J 2"]  # pixels of the image
    confidence: Float[Tensor, "B J"]  # in [0, 1]
    relative_depth: Float[Tensor, "B J"] | None = None
    joints_m: Float[Tensor, "B J 3"] | None = None


class PoseNetwork(nn.Module, ABC):
    """Base of the networks that predict poses from single images."""

    @property
    def view_corrected(self) -> bool:
        """Whether ``joints_m`` are in the frame of the crop's view (``cameras.view_correction``), not the camera's."""
        return False

    @property
    @abstractmethod
    def cube_m(self) -> float | None:
        """Side in metres of the cube that a depth crop shows; None for networks of colour images."""

    @abstractmethod
    def predict(self, images: Float[Tensor, "B C H W"]) -> PoseOutput:
        """Poses in float32. Colour images are RGB in [0, 1], depth crops are ``representations.depth_image``'s."""


class HeatmapNetwork(PoseNetwork):
    """Base of the networks whose ``forward`` returns K heat maps (logits) and K maps of relative depth."""

    maps: PoseMaps

    @property
    def cube_m(self) -> float | None:
        """As ``maps`` has it."""
        return self.maps.cube_m

    def encoder_parameters(self) -> Iterable[nn.Parameter]:
        """The parameters of the encoder, which may start trained; none for a network without one."""
        return ()

    @abstractmethod
    def forward(self, images: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B K h w"], Float[Tensor, "B K h w"]]:
        """Heat-map logits and depth maps."""

    def predict(self, images: Float[Tensor, "B C H W"]) -> PoseOutput:
        """Poses decoded from the maps."""
        heat, depth = self(images)
        with torch.autocast(images.device.type, enabled=False):  # positions need more digits than bfloat16 has
            return self.decode_maps(heat.float(), depth.float(), images.shape[-2:])

    def decode_maps(
        self, heat: Float[Tensor, "B K h w"], depth: Float[Tensor, "B K h w"], image_size: Sequence[int]
    ) -> PoseOutput:
        """Poses from maps that cover an image of ``image_size`` (height, width) pixels."""
        pose = self.maps.decode(heat, depth)
        uv_px = image_from_map(pose.uv_map, image_size, heat.shape[-2:])
        return PoseOutput(uv_px, pose.confidence, pose.relative_depth)


class FeatureNetwork(HeatmapNetwork):
    """Base of the networks whose maps come from features, which further heads can share.

    A network of several stacks has features and maps of each; the last are its prediction.
    """

    stacks = 1

    @property
    @abstractmethod
    def feature_channels(self) -> int:
        """Channels of the features."""

    @abstractmethod
    def map_features(self, images: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B C h w"], ...]:
        """The features of each stack."""

    @abstractmethod
    def maps_of(
        self, features: Float[Tensor, "B C h w"], stack: int = -1
    ) -> tuple[Float[Tensor, "B K h w"], Float[Tensor, "B K h w"]]:
        """Heat-map logits and depth maps from the features of a stack."""

    def forward(self, images: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B K h w"], Float[Tensor, "B K h w"]]:
        """Heat-map logits and depth maps of the last stack."""
        return self.maps_of(self.map_features(images)[-1])


def join_poses(parts: Sequence[PoseOutput]) -> PoseOutput:
    """The poses of several batches by one network as one batch."""
    names = [f.name for f in fields(PoseOutput) if getattr(parts[0], f.name) is not None]
    return PoseOutput(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def network_as(network: nn.Module, kind: type[NetworkT]) -> NetworkT:
    """The network, as one of the kind that a method needs. Raises ``InputError`` for a network of another kind."""
    if not isinstance(network, kind):
        raise InputError(f"this method trains a {kind.__name__}, and the network is a {type(network).__name__}")
    return network
