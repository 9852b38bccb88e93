"""Boxes as maps around their centres (Zhou et al. 2019, "Objects as Points"; Liu et al., AAAI 2020, "TTFNet").

A map of centres peaks at the middle of each box. Four further maps hold the distances from a cell to the sides of the
box, so that cells beside a peak describe the same box.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class CentreTargets:
    """Targets of B images for K kinds of subjects on a grid of h x w cells."""

    heat: Float[Tensor, "B K h w"]  # 1 at the cell of a centre, falling to 0
    counted: Bool[Tensor, "B K h w"]  # cells whose heat is penalised: not in ignored regions
    box: Float[Tensor, "B K 4 h w"]  # x0 y0 x1 y1 in pixels of the box to which a cell belongs
    box_weight: Float[Tensor, "B K h w"]  # sums to one over the cells of each box
    side: Float[Tensor, "B h w"]  # of hands, the first kind: 1 for right, 0 for left
    side_weight: Float[Tensor, "B h w"]


@dataclass(frozen=True)
class Peaks:
    """Local maxima of B images, best first."""

    score: Float[Tensor, "B P"]  # in [0, 1]
    kind: Int[Tensor, "B P"]
    box_xyxy: Float[Tensor, "B P 4"]  # pixels of the image
    right: Float[Tensor, "B P"]  # probability of a right hand; of other kinds meaningless


@dataclass(frozen=True)
class CentreMaps:
    """Encoding and decoding of boxes."""

    stride: int = 8  # side of a cell in pixels
    spread: float = 0.08  # standard deviation of a peak as a fraction of the box's sides
    least_spread: float = 0.6  # in cells
    least_weight: float = 0.3  # of the peak, in cells that belong to the box

    def cells(self, height: int, width: int) -> Float[Tensor, "h w 2"]:
        """Centres x, y of the grid's cells in pixels."""
        x, y = ((torch.arange(n) + 0.5) * self.stride - 0.5 for n in (width, height))
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)

    def targets(
        self,
        boxes_xyxy: Float[Tensor, "B N 4"],
        kind: Int[Tensor, "B N"],
        side: Int[Tensor, "B N"],
        ignored: Bool[Tensor, "B N"],
        kinds: int,
        grid: tuple[int, int],
    ) -> CentreTargets:
        """Targets of boxes on a grid (h, w). Places of a negative kind are unused; the centre is clipped to the grid.

        ``side`` is 1 for right hands, 0 for left ones, negative where it is unknown.
        """
        height, width = grid
        labelled = (kind >= 0) & ~ignored
        peak = self._peaks(boxes_xyxy, height, width) * labelled[..., None, None]  # (B, N, h, w)
        of_kind = F.one_hot(kind.clamp(min=0), kinds).permute(0, 2, 1)  # (B, K, N)
        by_kind = peak[:, None] * of_kind[..., None, None]
        heat, owner = by_kind.max(dim=2)  # (B, K, h, w)
        own = F.one_hot(owner, boxes_xyxy.shape[1]).permute(0, 1, 4, 2, 3)  # (B, K, N, h, w)
        weight = by_kind * own * (by_kind >= self.least_weight)
        weight = weight / weight.sum(dim=(3, 4), keepdim=True).clamp(min=1e-6)
        box = (own[:, :, :, None] * boxes_xyxy[:, None, :, :, None, None]).sum(dim=2)
        known = weight[:, 0] * (side >= 0)[..., None, None]
        return CentreTargets(
            heat=heat,
            counted=~self._ignored(boxes_xyxy, kind, ignored, kinds, height, width),
            box=box,
            box_weight=weight.sum(dim=2),
            side=(known * (side == 1)[..., None, None]).sum(dim=1) / known.sum(dim=1).clamp(min=1e-6),
            side_weight=known.sum(dim=1),
        )

    def _peaks(self, boxes_xyxy: Tensor, height: int, width: int) -> Float[Tensor, "B N h w"]:
        """A Gaussian around the middle cell of each box, 1 in that cell."""
        size = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]) / self.stride
        sigma = (self.spread * size).clamp(min=self.least_spread)
        middle = ((boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2 + 0.5) / self.stride
        limit = middle.new_tensor([width - 1, height - 1])
        cell = torch.minimum(middle.floor().clamp(min=0), limit)
        x, y = torch.arange(width).to(middle), torch.arange(height).to(middle)
        along_x = torch.exp(-0.5 * ((x - cell[..., :1]) / sigma[..., :1]) ** 2)
        along_y = torch.exp(-0.5 * ((y - cell[..., 1:]) / sigma[..., 1:]) ** 2)
        return along_y[..., :, None] * along_x[..., None, :]

    def _ignored(
        self, boxes_xyxy: Tensor, kind: Tensor, ignored: Tensor, kinds: int, height: int, width: int
    ) -> Bool[Tensor, "B K h w"]:
        """Cells inside ignored boxes, by kind."""
        cells = self.cells(height, width).to(boxes_xyxy)
        low, high = boxes_xyxy[..., None, None, :2], boxes_xyxy[..., None, None, 2:]
        inside = ((cells >= low) & (cells <= high)).all(dim=-1) & (ignored & (kind >= 0))[..., None, None]
        return torch.stack([(inside & (kind == k)[..., None, None]).any(dim=1) for k in range(kinds)], dim=1)

    def boxes(self, distances_px: Float[Tensor, "... 4 h w"]) -> Float[Tensor, "... 4 h w"]:
        """Boxes x0 y0 x1 y1 from the distances of each cell to the left, upper, right and lower side."""
        cells = self.cells(*distances_px.shape[-2:]).to(distances_px).permute(2, 0, 1)
        return torch.cat([cells - distances_px[..., :2, :, :], cells + distances_px[..., 2:, :, :]], dim=-3)

    def peaks(
        self,
        heat: Float[Tensor, "B K h w"],
        distances_px: Float[Tensor, "B K 4 h w"],
        right: Float[Tensor, "B h w"],
        count: int,
    ) -> Peaks:
        """The ``count`` highest local maxima of each image over all kinds; 3 x 3 cells suppress those beside them."""
        batch, kinds, height, width = heat.shape
        highest = F.max_pool2d(heat, 3, stride=1, padding=1)
        score, place = (heat * (heat == highest)).flatten(1).topk(min(count, kinds * height * width), dim=1)
        boxes = self.boxes(distances_px).permute(0, 1, 3, 4, 2).reshape(batch, -1, 4)
        rights = right.flatten(1).repeat(1, kinds)
        return Peaks(
            score=score,
            kind=place // (height * width),
            box_xyxy=boxes.gather(1, place[..., None].expand(-1, -1, 4)),
            right=rights.gather(1, place),
        )
