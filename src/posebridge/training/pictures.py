"""Images of training as pictures of the report."""

import cv2
import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

_SHOWN_PX = 128


def as_picture(image: Float[Tensor, "3 H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """An RGB image in [0, 1] with 8 bits a channel; values outside are clamped."""
    return as_bytes(image.permute(1, 2, 0))


def as_bytes(values: Tensor) -> UInt8[np.ndarray, "..."]:
    """Values in [0, 1] with 8 bits each; values outside are clamped."""
    return (values.float().clamp(0, 1) * 255).round().byte().cpu().numpy()


def weights_over_image(image: UInt8[np.ndarray, "H W 3"], weights: Float[Tensor, "h w"]) -> UInt8[np.ndarray, "S S 3"]:
    """Weights of a square image's regions in colours over its grey values, from none (dark) to the largest (yellow)."""
    grid = weights[None, None] / weights.max()
    smooth = F.interpolate(grid, (_SHOWN_PX, _SHOWN_PX), mode="bicubic", align_corners=False)[0, 0].clamp(0, 1)
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (_SHOWN_PX, _SHOWN_PX), interpolation=cv2.INTER_LINEAR)
    colours = in_colours((255 * smooth).byte().cpu().numpy())
    return cv2.addWeighted(colours, 0.6, np.repeat(grey[..., None], 3, axis=-1), 0.4, 0)


def in_colours(values: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Values as colours of increasing lightness (viridis)."""
    return cv2.cvtColor(cv2.applyColorMap(values, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def colour_ramp() -> UInt8[np.ndarray, "16 240 3"]:
    """The colours of ``in_colours``, for legends."""
    return in_colours(np.tile(np.linspace(0, 255, 240).astype(np.uint8), (16, 1)))
