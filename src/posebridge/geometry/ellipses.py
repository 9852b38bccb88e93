"""Ellipses of 2D mass: second moments, and the map from one ellipse to another, in closed form.

The symmetric square root of a 2x2 matrix has a closed form that is smooth for positive definite matrices, even where
singular values coincide and the gradient of an SVD is undefined. Directions are given by the bones, so the signs of the
axes aren't ambiguous.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_MIN_LENGTH_PRODUCT_PX2 = 0.25  # product of two directions' lengths below which the rotation fades out
_MIN_DETERMINANT = 1e-6  # over the squared trace; below it a float32 determinant is rounding error


def segment_moments(extent: Float[Tensor, "... 2"], width: float) -> Float[Tensor, "... 2 2"]:
    """Second moments of a segment from -extent / 2 to extent / 2, blurred by a Gaussian of deviation ``width``.

    They are length^2 / 12 + width^2 along the segment and width^2 across it, in squared units of the input.
    """
    across = width**2 * torch.eye(2, dtype=extent.dtype, device=extent.device)
    return extent[..., :, None] * extent[..., None, :] / 12 + across


def square_root(moments: Float[Tensor, "... 2 2"]) -> Float[Tensor, "... 2 2"]:
    """Symmetric square roots of positive definite matrices: (M + sqrt(det M) 1) / sqrt(tr M + 2 sqrt(det M)).

    Ratios of the axes above about 1000 are clamped.
    """
    a, b, d = moments[..., 0, 0], moments[..., 0, 1], moments[..., 1, 1]
    root = torch.maximum(a * d - b * b, _MIN_DETERMINANT * (a + d).square()).sqrt()
    scale = (a + d + 2 * root).sqrt()
    return torch.stack([torch.stack([a + root, b], -1), torch.stack([b, d + root], -1)], -2) / scale[..., None, None]


def ellipse_map(
    onto: tuple[Float[Tensor, "... 2 2"], Float[Tensor, "... 2"]],
    of: tuple[Float[Tensor, "... 2 2"], Float[Tensor, "... 2"]],
) -> Float[Tensor, "... 2 2"]:
    """The linear map from the oriented ellipse ``of`` to the oriented ellipse ``onto``, given as (moments, direction).

    Equals axes(onto) @ inv(axes(of)), where axes = U sqrt(S) of the SVD with its first column along the direction. The
    rotation between the directions comes from their product and fades to the identity where one has no length. So
    values are finite everywhere, and gradients are bounded except for rotations by 180 degrees. A rotation by 90
    degrees is 3.5 degrees short if both directions are 1 px long, and 0.05 degrees if they are 3 px.
    """
    (moments_onto, d_onto), (moments_of, d_of) = onto, of
    product2 = d_onto.square().sum(-1) * d_of.square().sum(-1)
    cos = (d_onto * d_of).sum(-1) + _MIN_LENGTH_PRODUCT_PX2**2 / (_MIN_LENGTH_PRODUCT_PX2**2 + product2).sqrt()
    sin = d_onto[..., 1] * d_of[..., 0] - d_onto[..., 0] * d_of[..., 1]
    length = (cos.square() + sin.square()).clamp_min(1e-12).sqrt()
    cos, sin = cos / length, sin / length
    R = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    return square_root(moments_onto) @ R @ _inverse(square_root(moments_of))


def _inverse(matrix: Float[Tensor, "... 2 2"]) -> Float[Tensor, "... 2 2"]:
    a, b, c, d = matrix.flatten(-2).unbind(-1)
    determinant = (a * d - b * c)[..., None, None]
    return torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2) / determinant
