"""Fast rasteriser: NVIDIA Warp kernels on CPU or CUDA, without a display.

Signature, semantics and floating-point operations are those of the reference ``rasterise``.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from posebridge.geometry.warp_runtime import launch, numbers, start_warp, vectors
from posebridge.rendering.raster import Raster
from posebridge.rendering.rasterise import project, resolve
from posebridge.rendering.rasterise_kernels import EMPTY, depth_test, resolve_hits


def rasterise(
    vertices_m: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], K: Float[Tensor, "B 3 3"], height: int, width: int
) -> Raster:
    """Nearest face, barycentrics and depth at each pixel centre; see ``rasterise.rasterise`` for the semantics.

    Memory is linear in vertices, faces and pixels. Raises ``TypeError`` for other types than float32.
    """
    if vertices_m.dtype != torch.float32 or K.dtype != torch.float32:
        raise TypeError(f"vertices of {vertices_m.dtype} and K of {K.dtype}: give float32")
    start_warp()
    differentiable = torch.is_grad_enabled() and (vertices_m.requires_grad or K.requires_grad)
    with torch.no_grad():
        screen = project(vertices_m, K)
        keys = _depth_test(screen, faces, height, width)
    if differentiable:
        return resolve(torch.where(keys == EMPTY, -1, keys & 0xFFFFFFFF), vertices_m, faces, K)
    return _resolve(screen, faces, keys)


def _depth_test(screen: Tensor, faces: Tensor, height: int, width: int) -> Int[Tensor, "B H W"]:
    """Smallest (depth bits, face index) at each pixel, packed into 64 bits."""
    keys = screen.new_full((len(screen), height, width), EMPTY, dtype=torch.int64)
    _launch(depth_test, (len(screen), len(faces)), screen, faces, keys)
    return keys


def _resolve(screen: Tensor, faces: Tensor, keys: Tensor) -> Raster:
    """Barycentrics and depth without gradients."""
    barycentric = screen.new_empty(*keys.shape, 3)
    depth_m = screen.new_empty(keys.shape)
    face_index = torch.empty_like(keys)
    _launch(resolve_hits, tuple(keys.shape), screen, faces, keys, face_index, barycentric, depth_m)
    return Raster(face_index, barycentric, depth_m)


def _launch(kernel: Callable[..., None], dim: tuple[int, ...], screen: Tensor, faces: Tensor, *arrays: Tensor) -> None:
    """Launch a kernel on a batch of images. 4-D float arrays (..., 3) are passed as vectors."""
    corners = faces.to(screen.device, torch.int32)
    inputs = [vectors(screen), numbers(corners), *(vectors(a) if a.ndim == 4 else numbers(a) for a in arrays)]
    launch(kernel, dim, inputs, screen.device)
