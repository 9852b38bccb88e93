"""3D poses from RGB images through a latent space: an image encoder, a pose decoder, and one of heat maps.

The part of aligned latent spaces that predicts (Sec. 5.4.2 of Yang's dissertation, 2022). Encoders and decoders of
other modalities are needed for training alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.geometry.boxes import JOINT_BOX_PADDING
from posebridge.networks.latent_coders import ImageEncoder, ImageEncoderConfig, PictureDecoder, VectorDecoder
from posebridge.networks.pose_network import PoseNetwork, PoseOutput
from posebridge.representations.heatmaps import decode_argmax, image_from_map
from posebridge.representations.pose25d import fill_crop
from posebridge.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class HeatMapConfig:
    """Decoded heat maps, one a joint: Gaussians of height 1. Their size is not given in the dissertation."""

    side: int = 64  # pixels of a map, which covers the whole crop
    sigma: float = 2.0  # pixels of a map
    width: int = 64  # channels of the decoder's last features


@dataclass(frozen=True)
class AlignedPoseConfig:
    """Defaults are the dissertation's, where it gives them."""

    size_px: int = 256  # side of the square images
    joints: int = 21
    latent: int = 64  # dimensions
    encoder: ImageEncoderConfig = field(default_factory=ImageEncoderConfig)
    pose_hidden: tuple[int, ...] = (128, 128, 128, 128)  # of the pose decoder
    heat_maps: HeatMapConfig | None = field(default_factory=HeatMapConfig)  # None: no decoder of heat maps
    view_correction: bool = True  # poses are in the frame of the crop's view, see ``cameras.view_correction``
    box_padding: float = JOINT_BOX_PADDING  # of crops, as a factor on the box of the joints; without heat maps


class AlignedPoseNetwork(PoseNetwork):
    """RGB images to poses in space, relative to the far end of the reference bone and in units of that bone.

    The end is the knuckle of the middle finger in hands.
    """

    def __init__(self, config: AlignedPoseConfig, skeleton: Skeleton, reference_length_m: float | None = None):
        """``reference_length_m``: mean length of the reference bone, for poses in metres.

        Raises ``InputError`` for an encoder or heat maps that can't be built.
        """
        super().__init__()
        self.config = config
        self.skeleton = skeleton
        self.reference_length_m = reference_length_m
        self.encoder = ImageEncoder(config.encoder, config.latent)
        self.pose_decoder = VectorDecoder(config.latent, 3 * len(skeleton), config.pose_hidden)
        maps = config.heat_maps
        self.heat_decoder = (
            None if maps is None else PictureDecoder(config.latent, maps.side, len(skeleton), maps.width)
        )

    @property
    def cube_m(self) -> None:
        """None: the network reads colour images."""

    @property
    def view_corrected(self) -> bool:
        """Whether poses are in the frame of the crop's view."""
        return self.config.view_correction

    @property
    def origin(self) -> int:
        """Index of the joint that decoded poses are relative to."""
        return self.skeleton.reference[1]

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the timm encoder."""
        return self.encoder.features.parameters()

    def decode_pose(self, latent: Float[Tensor, "B D"]) -> Float[Tensor, "B J 3"]:
        """Poses relative to the origin, in reference bones."""
        return self.pose_decoder(latent).unflatten(1, (-1, 3))

    def predict(self, images: Float[Tensor, "B 3 H W"]) -> PoseOutput:
        """Poses decoded from the means of the images' Gaussians.

        With heat maps, joints in pixels are their maxima, and their heights the confidence. Without them, joints are
        those of the pose in space, scaled and moved so that their padded box fills the crop: crops are cut around such
        boxes. The confidence of all joints is then the share of the prior's variance that the image explains.
        """
        posterior = self.encoder(images)
        with torch.autocast(images.device.type, enabled=False):  # positions need more digits than bfloat16 has
            joints = self.decode_pose(posterior.mean)
            joints = joints - joints[:, [self.skeleton.root]]
            if self.heat_decoder is not None:
                maps = self.heat_decoder(posterior.mean)
                uv_map, height = decode_argmax(maps)
                uv_px = image_from_map(uv_map, images.shape[-2:], maps.shape[-2:])
                confidence = height.clamp(0, 1)
            else:
                uv_px = fill_crop(joints[..., :2], images.shape[-1], self.config.box_padding)
                explained = 1 - posterior.log_variance.exp().mean(dim=1, keepdim=True)
                confidence = explained.clamp(0, 1).expand(-1, len(self.skeleton))
        length_m = self.reference_length_m
        joints_m = None if length_m is None else joints * length_m
        return PoseOutput(uv_px, confidence, joints[..., 2], joints_m)
