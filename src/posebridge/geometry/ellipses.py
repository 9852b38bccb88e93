"""Ellipses of 2D mass: second moments, and the affine map from one ellipse to another, in closed form.

A symmetric 2x2 matrix has a square root in closed form that is smooth wherever the matrix is positive definite, also
where its singular values meet, and there the gradient of an SVD doesn't exist. Directions come from outside (a bone
knows where it points), so no sign is ever guessed from the mass.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_STILL = 0.25  # in square pixels: a product of two directions' lengths below which they hardly tell a turn
_THINNEST = 1e-6  # determinant over squared trace below which a difference of products in float32 is all rounding
_LEAST_MASS = 1e-12  # of all pixels together, above which moments are a mean; gradients of a mean of less overflow


def second_moments(
    mass: Float[Tensor, "... H W"], centre: Float[Tensor, "... 2"], least: float = 1e-3
) -> Float[Tensor, "... 2 2"]:
    """Mean of (p - centre)(p - centre)^T under the mass, with ``least`` added to the diagonal; pixels squared.

    Masses are of the order of one a pixel. One of less than 1e-12 in all counts by less, down to none at all, whose
    moments are ``least`` times the identity.
    """
    height, width = mass.shape[-2:]
    total = mass.sum((-2, -1)).clamp_min(_LEAST_MASS)
    u = torch.arange(width, dtype=mass.dtype, device=mass.device) - centre[..., :1]
    v = torch.arange(height, dtype=mass.dtype, device=mass.device) - centre[..., 1:]
    rows, columns = mass.sum(-1), mass.sum(-2)
    uu = (columns * u.square()).sum(-1) / total + least
    vv = (rows * v.square()).sum(-1) / total + least
    uv = ((mass * u[..., None, :]).sum(-1) * v).sum(-1) / total
    return torch.stack([torch.stack([uu, uv], -1), torch.stack([uv, vv], -1)], -2)


def square_root(moments: Float[Tensor, "... 2 2"]) -> Float[Tensor, "... 2 2"]:
    """The symmetric square root of positive definite matrices: (M + sqrt(det M) 1) / sqrt(tr M + 2 sqrt(det M)).

    One whose larger axis is a thousand times the smaller, or more, is taken to be as thick as that.
    """
    a, b, d = moments[..., 0, 0], moments[..., 0, 1], moments[..., 1, 1]
    root = torch.maximum(a * d - b * b, _THINNEST * (a + d).square()).sqrt()
    scale = (a + d + 2 * root).sqrt()
    return torch.stack([torch.stack([a + root, b], -1), torch.stack([b, d + root], -1)], -2) / scale[..., None, None]


def ellipse_map(
    onto: tuple[Float[Tensor, "... 2 2"], Float[Tensor, "... 2"]],
    of: tuple[Float[Tensor, "... 2 2"], Float[Tensor, "... 2"]],
) -> Float[Tensor, "... 2 2"]:
    """The linear map that takes one oriented ellipse onto another: axes onto axes. Each is (moments, direction).

    That is ``oriented_axes(onto) @ inv(oriented_axes(of))``, save that the turn from one direction to the other is
    taken from their product, which fades to no turn at all where one of them has no length: finite, and with bounded
    gradients but for half turns, everywhere. Of a quarter turn 3.5 degrees are missing where both
    directions are of one pixel, 0.05 where they are of three.
    """
    (moments_onto, d_onto), (moments_of, d_of) = onto, of
    product2 = d_onto.square().sum(-1) * d_of.square().sum(-1)
    cos = (d_onto * d_of).sum(-1) + _STILL**2 / (_STILL**2 + product2).sqrt()
    sin = d_onto[..., 1] * d_of[..., 0] - d_onto[..., 0] * d_of[..., 1]
    length = (cos.square() + sin.square()).clamp_min(1e-12).sqrt()
    cos, sin = cos / length, sin / length
    turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    return square_root(moments_onto) @ turn @ _inverse(square_root(moments_of))


def _inverse(matrix: Float[Tensor, "... 2 2"]) -> Float[Tensor, "... 2 2"]:
    a, b, c, d = matrix.flatten(-2).unbind(-1)
    determinant = (a * d - b * c)[..., None, None]
    return torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2) / determinant
