"""Reconstruction of a driving frame from a base frame and both poses (Lin et al., NeurIPS 2023, Sec. 3.3.2).

The image is differentiable in the joints, through bone maps (Eq. 6), their affine maps (Eq. 7), the displacement field
(Eq. 8) and the generator (Eq. 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from posebridge.cameras.crop import inverse_map, resize_map
from posebridge.contracts.batch import Observation
from posebridge.geometry.displacement import affine_fields, blend_fields
from posebridge.networks.reconstruction import Generator, GeneratorConfig, HeatmapGenerator
from posebridge.networks.warping import Warping, WarpingConfig, WarpingEstimator
from posebridge.representations.bone_maps import BoneMaps, bone_transforms, draw_bones
from posebridge.representations.heatmaps import encode_gaussian, map_from_image
from posebridge.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class FrameReconstructorConfig:
    """Defaults are the paper's, for images of 256 px."""

    # Side of the reconstructed images, to which larger frames are reduced; None: that of the frames.
    image_px: int | None = None
    guide: Literal["bones", "heatmaps"] = "bones"  # heatmaps: no warp; L_heatmap in Table 3(a)
    grid_stride: int = 4  # reconstructed pixels per pixel of bone maps, masks and displacement field
    bone_sigma: float = 1.5  # sigma of Eq. 6, in pixels of that grid; not given, chosen on studio renders
    heat_sigma: float = 2.0  # of heat maps as the guide, in pixels of that grid
    warping: WarpingConfig = field(default_factory=WarpingConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)


@dataclass(frozen=True)
class ReconstructedFrames:
    """B reconstructed driving frames. Without bones as the guide, only the image is set."""

    image: Float[Tensor, "B 3 H W"]  # of side ``image_px`` where the config has one
    masks: Float[Tensor, "B R h w"] | None = None  # of the background, then of each bone
    field: Float[Tensor, "B h w 2"] | None = None  # from each grid pixel to its position in the base frame, grid pixels
    inpainting: Float[Tensor, "B 1 h w"] | None = None


class FrameReconstructor(nn.Module):
    """Warping estimation and generation for the bones of a skeleton."""

    def __init__(self, config: FrameReconstructorConfig, skeleton: Skeleton):
        super().__init__()
        self.config = config
        self.bones = skeleton.bones
        if config.guide == "bones":
            self.estimator = WarpingEstimator(config.warping, len(self.bones))
            self.generator = Generator(config.generator)
        else:
            self.generator = HeatmapGenerator(config.generator, len(skeleton))

    def forward(
        self,
        base: Float[Tensor, "B 3 H W"],
        uv_base_px: Float[Tensor, "B K 2"],
        uv_driving_px: Float[Tensor, "B K 2"],
        T_base_driving: Float[Tensor, "B 3 3"],
    ) -> ReconstructedFrames:
        """Reconstruct the driving frames.

        Args:
            base: base frames, RGB in [0, 1].
            uv_base_px: joints in the base frames, in pixels of the images.
            uv_driving_px: joints in the driving frames.
            T_base_driving: pixels of the background in the driving frame to pixels in the base frame; see
                ``still_camera_transform``.
        """
        size, image = base.shape[-2:], self._reduced(base)
        height, width = (side // self.config.grid_stride for side in image.shape[-2:])
        joints = [map_from_image(uv, size, (height, width)) for uv in (uv_base_px, uv_driving_px)]
        if isinstance(self.generator, HeatmapGenerator):
            heat = [encode_gaussian(uv, height, width, self.config.heat_sigma)[0] for uv in joints]
            return ReconstructedFrames(self.generator(image, *heat).to(base.dtype))
        small = F.interpolate(base, (height, width), mode="area")
        with torch.autocast(base.device.type, enabled=False):  # coordinates need full precision
            bones = [draw_bones(uv, self.bones, height, width, self.config.bone_sigma) for uv in joints]
        warping = self.estimator(small, *(drawn.maps for drawn in bones))
        with torch.autocast(base.device.type, enabled=False):
            T_grid = resize_map(width / size[1], height / size[0]).to(T_base_driving)
            displacement = self._displacement_field(warping, bones, T_grid @ T_base_driving @ inverse_map(T_grid))
        reconstructed = self.generator(image, displacement, warping.inpainting).to(base.dtype)
        return ReconstructedFrames(reconstructed, warping.masks, displacement, warping.inpainting)

    def _reduced(self, frames: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 h w"]:
        side = self.config.image_px
        return frames if side is None else resize_images(frames, (side, side))

    def _displacement_field(
        self, warping: Warping, bones: Sequence[BoneMaps], T_base_driving: Float[Tensor, "B 3 3"]
    ) -> Float[Tensor, "B h w 2"]:
        """Eq. 8, in pixels of the grid."""
        height, width = warping.masks.shape[-2:]
        A, t = bone_transforms(*bones)  # Eq. 7
        T = T_base_driving.to(A)  # networks may use lower precision
        A_background, t_background = T[:, None, :2, :2], T[:, None, :2, 2]
        if warping.background is not None:
            A_background, t_background = _compose_background(
                warping.background.to(A), A_background, t_background, height, width
            )
        coarse = affine_fields(torch.cat([A_background, A], 1), torch.cat([t_background, t], 1), height, width)
        return blend_fields(warping.masks.to(A), coarse)


def resize_images(images: Float[Tensor, "B 3 H W"], size: Sequence[int]) -> Float[Tensor, "B 3 h w"]:
    """The images at the size (height, width) of reconstructed ones; those of this size as they are."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, tuple(size), mode="bilinear", antialias=True, align_corners=False)


def _compose_background(
    delta: Float[Tensor, "B 2 3"], A: Float[Tensor, "B 1 2 2"], t: Float[Tensor, "B 1 2"], height: int, width: int
) -> tuple[Tensor, Tensor]:
    """The known map of the background, then the predicted one: ``delta`` in coordinates of -1 to 1 over the grid."""
    half = delta.new_tensor([width / 2, height / 2])
    centre = half - 0.5
    linear = torch.eye(2).to(delta) + delta[:, None, :, :2] * half[:, None] / half
    shift = delta[:, None, :, 2] * half + centre - (linear @ centre)
    return linear @ A, (linear @ t[..., None])[..., 0] + shift


def still_camera_transform(base: Observation, driving: Observation) -> Float[Tensor, "B 3 3"]:
    """Pixel maps from driving crops to base crops for a static background and camera.

    Crops follow the subject, so they differ between the frames; their maps from the file give the transform.
    """
    if base.T_crop_file is None or driving.T_crop_file is None:
        return torch.eye(3, device=base.rgb.device).repeat(len(base), 1, 1)
    T = base.T_crop_file.double() @ inverse_map(driving.T_crop_file.double())
    return T.to(base.rgb)
