"""Warp kernels of the fast rasteriser, for CPU and CUDA: one thread per face, then one thread per pixel."""

# Type checkers can't follow the Python subset of Warp kernels.
# pyright: reportArgumentType=false, reportAssignmentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false

import warp as wp

from posebridge.rendering.rasterise import SMALLEST_AREA_PX2

# Fused multiply-add rounds once and would differ from the reference. Gradients come from ``resolve``.
wp.set_module_options({"fuse_fp": False, "enable_backward": False})

EMPTY = (1 << 63) - 1  # key of a background pixel
_EMPTY = wp.constant(wp.int64(EMPTY))
_SMALLEST_AREA_PX2 = wp.constant(wp.float32(SMALLEST_AREA_PX2))


@wp.func
def _edges(a: wp.vec3, b: wp.vec3, c: wp.vec3, u: float, v: float) -> wp.vec3:
    """Same as ``rasterise.edge_functions``."""
    x0 = a[0] - u
    x1 = b[0] - u
    x2 = c[0] - u
    y0 = a[1] - v
    y1 = b[1] - v
    y2 = c[1] - v
    return wp.vec3(x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1)


@wp.kernel
def depth_test(screen: wp.array2d[wp.vec3], faces: wp.array2d[wp.int32], keys: wp.array3d[wp.int64]):
    """Test one face of one image against the packed depth buffer ``keys``."""
    image, face = wp.tid()
    a = screen[image, faces[face, 0]]
    b = screen[image, faces[face, 1]]
    c = screen[image, faces[face, 2]]
    if a[2] <= 0.0 or b[2] <= 0.0 or c[2] <= 0.0:
        return
    height = keys.shape[1]
    width = keys.shape[2]
    left = int(wp.max(wp.ceil(wp.min(a[0], wp.min(b[0], c[0]))), 0.0))
    right = int(wp.min(wp.floor(wp.max(a[0], wp.max(b[0], c[0]))), float(width - 1)))
    top = int(wp.max(wp.ceil(wp.min(a[1], wp.min(b[1], c[1]))), 0.0))
    bottom = int(wp.min(wp.floor(wp.max(a[1], wp.max(b[1], c[1]))), float(height - 1)))
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            e = _edges(a, b, c, float(column), float(row))
            lowest = wp.min(e[0], wp.min(e[1], e[2]))
            highest = wp.max(e[0], wp.max(e[1], e[2]))
            area = e[0] + e[1] + e[2]
            if (lowest >= 0.0 or highest <= 0.0) and wp.abs(area) > _SMALLEST_AREA_PX2:
                depth_m = area / (e[0] * a[2] + e[1] * b[2] + e[2] * c[2])
                # Positive floats have the same order as their bit patterns.
                key = (wp.int64(wp.cast(depth_m, wp.int32)) << wp.int64(32)) | wp.int64(face)
                wp.atomic_min(keys, image, row, column, key)


@wp.kernel
def resolve_hits(
    screen: wp.array2d[wp.vec3],
    faces: wp.array2d[wp.int32],
    keys: wp.array3d[wp.int64],
    face_index: wp.array3d[wp.int64],
    barycentric: wp.array3d[wp.vec3],
    depth_m: wp.array3d[wp.float32],
):
    """Unpack one pixel: its face, barycentrics and depth."""
    image, row, column = wp.tid()
    key = keys[image, row, column]
    if key == _EMPTY:
        face_index[image, row, column] = wp.int64(-1)
        barycentric[image, row, column] = wp.vec3(0.0, 0.0, 0.0)
        depth_m[image, row, column] = 0.0
        return
    face = int(key & wp.int64(0xFFFFFFFF))
    a = screen[image, faces[face, 0]]
    b = screen[image, faces[face, 1]]
    c = screen[image, faces[face, 2]]
    e = _edges(a, b, c, float(column), float(row))
    w0 = e[0] * a[2]
    w1 = e[1] * b[2]
    w2 = e[2] * c[2]
    total = w0 + w1 + w2
    face_index[image, row, column] = wp.int64(face)
    barycentric[image, row, column] = wp.vec3(w0 / total, w1 / total, w2 / total)
    depth_m[image, row, column] = (e[0] + e[1] + e[2]) / total
