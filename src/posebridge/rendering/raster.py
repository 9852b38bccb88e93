"""Result of rasterisation: visible face, barycentric coordinates and depth of each pixel."""

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Raster:
    """Visible surface of B meshes in B images of H x W pixels; pixel centres lie at integers.

    Most pixels of an image of a hand are background. So per-pixel computations use the N covered pixels only:
    ``gather`` takes their values from an image, ``scatter`` writes values back.
    """

    face_index: Int[Tensor, "B H W"]  # int64, -1 on background
    barycentric: Float[Tensor, "B H W 3"]  # perspective-correct weights of the face's corners, 0 on background
    depth_m: Float[Tensor, "B H W"]  # along the optical axis, 0 on background

    @property
    def mask(self) -> Bool[Tensor, "B H W"]:
        """True where the mesh covers the pixel's centre."""
        return self.face_index >= 0

    @cached_property
    def hits(self) -> Int[Tensor, "N"]:
        """Flat indices of the covered pixels, ascending."""
        return self.mask.flatten().nonzero().squeeze(1)

    @cached_property
    def hit_image(self) -> Int[Tensor, "N"]:
        """Index in the batch of each covered pixel's image."""
        return self.hits // self.face_index[0].numel()

    @cached_property
    def hit_counts(self) -> list[int]:
        """Number of covered pixels of each image; the sum is N."""
        return self.mask.flatten(1).sum(1).tolist()

    @cached_property
    def hit_uv_px(self) -> tuple[Float[Tensor, "N"], Float[Tensor, "N"]]:
        """Column u and row v of each covered pixel."""
        height, width = self.face_index.shape[1:]
        within = self.hits - self.hit_image * (height * width)
        row = within // width
        return (within - row * width).to(self.depth_m), row.to(self.depth_m)

    def gather(self, image: Tensor) -> Tensor:
        """Values (N, ...) of the covered pixels of an image batch (B, H, W, ...)."""
        return image.flatten(0, 2).index_select(0, self.hits)

    def scatter(self, values: Tensor, background: float = 0.0) -> Tensor:
        """An image batch (B, H, W, ...) with ``values`` (N, ...) at the covered pixels."""
        flat = values.new_full((self.face_index.numel(), *values.shape[1:]), background)
        return flat.index_copy_(0, self.hits, values).reshape(*self.face_index.shape, *values.shape[1:])
