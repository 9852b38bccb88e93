"""Small meshes and cameras, and a ray caster that shares no code with the rasterisers."""

import numpy as np
import torch
from torch import Tensor


def icosphere(subdivisions: int) -> tuple[Tensor, Tensor]:
    """Unit sphere of 20 * 4^n faces, outward: vertices (V, 3) float64 and faces (F, 3)."""
    g = (1 + 5**0.5) / 2
    vertices = [(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0), (0, -1, g), (0, 1, g), (0, -1, -g), (0, 1, -g)]
    vertices += [(g, 0, -1), (g, 0, 1), (-g, 0, -1), (-g, 0, 1)]
    points = [np.array(v) / np.linalg.norm(v) for v in vertices]
    faces = [(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6)]
    faces += [(7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9), (4, 9, 5), (2, 4, 11), (6, 2, 10)]
    faces += [(8, 6, 7), (9, 8, 1)]
    for _ in range(subdivisions):
        middles: dict[tuple[int, int], int] = {}

        def middle(a: int, b: int, middles=middles) -> int:
            key = (min(a, b), max(a, b))
            if key not in middles:
                middles[key] = len(points)
                points.append((points[a] + points[b]) / np.linalg.norm(points[a] + points[b]))
            return middles[key]

        split = []
        for a, b, c in faces:
            ab, bc, ca = middle(a, b), middle(b, c), middle(c, a)
            split += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        faces = split
    return torch.tensor(np.array(points)), torch.tensor(faces)


def bumpy_spheres(batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """As many faces as a hand, of its size (0.09 m), 0.5 m away: (B, V, 3) float32 and (F, 3)."""
    generator = torch.Generator().manual_seed(seed)
    points, faces = icosphere(4)
    waves = torch.randn(batch, 6, 3, generator=generator, dtype=torch.float64) * 4
    bumps = 1 + 0.08 * torch.sin(points @ waves.transpose(1, 2)).sum(-1)
    away = torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64) + 0.04 * torch.randn(
        batch, 1, 3, generator=generator, dtype=torch.float64
    )
    return (0.09 * bumps[..., None] * points + away).float(), faces


def soup(batch: int, faces: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random triangles that cross one another, some off-screen or behind the camera: float64."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(batch, faces, 1, 3, generator=generator, dtype=torch.float64) * torch.tensor([2.0, 2.0, 3.0])
    corners = torch.randn(batch, faces, 3, 3, generator=generator, dtype=torch.float64) * 0.35
    vertices = centre + corners + torch.tensor([-1.0, -1.0, 0.2], dtype=torch.float64)
    return vertices.flatten(1, 2), torch.arange(3 * faces).view(faces, 3)


def pinhole(focal_px: float, height: int, width: int, batch: int = 1) -> Tensor:
    """Plain intrinsics with the centre of the image as principal point: float64."""
    K = torch.tensor([[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1]], dtype=torch.float64)
    return K.expand(batch, 3, 3).clone()


def skewed_cameras(height: int, width: int) -> Tensor:
    """Four cameras: plain, rotated with skew, mirrored, and mirrored with skew."""
    K = pinhole(width * 0.9, height, width, 4)
    K[1, :2, :2] = torch.tensor([[0.8, 0.3], [-0.25, 0.9]]) * width
    K[2, 0, 0] *= -1
    K[3, :2, :2] = torch.tensor([[0.2, 1.0], [0.9, -0.1]]) * width
    K[3, :2, 2] += 2.3
    return K


def cast_rays(vertices: np.ndarray, faces: np.ndarray, K: np.ndarray, height: int, width: int):
    """Moeller and Trumbore 1997, one ray and one triangle at a time: nearest face, its barycentrics, depth."""
    face_index = np.full((height, width), -1)
    barycentric, depth = np.zeros((height, width, 3)), np.zeros((height, width))
    triangles = []  # index, corner, two edges, and the part of the cross products without the ray
    for index, (a, b, c) in enumerate(vertices[faces]):
        if min(a[2], b[2], c[2]) > 1e-4:
            triangles.append((index, a, b - a, c - a, np.cross(-a, b - a)))
    for row, column in np.ndindex(height, width):
        ray = np.linalg.solve(K, np.array([column, row, 1.0]))
        best = np.inf
        for index, a, edge1, edge2, q in triangles:
            p = np.cross(ray, edge2)
            determinant = edge1 @ p
            if determinant == 0:
                continue
            beta, gamma, distance = -a @ p / determinant, ray @ q / determinant, edge2 @ q / determinant
            if beta >= 0 and gamma >= 0 and beta + gamma <= 1 and distance < best:
                best = distance
                face_index[row, column], depth[row, column] = index, distance
                barycentric[row, column] = 1 - beta - gamma, beta, gamma
    return face_index, barycentric, depth
