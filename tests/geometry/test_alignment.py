import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from posebridge.geometry.alignment import align_similarity, fit_similarity


def poses(seed: int, batch: int = 5, n: int = 21) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(batch, n, 3, generator=generator, dtype=torch.float64) * 80
    return source, source + torch.randn(batch, n, 3, generator=generator, dtype=torch.float64) * 20


def test_similarity_residual_matches_scipy():
    source, target = poses(0)
    aligned = align_similarity(source, target)
    for ours, a, b in zip(aligned.numpy(), target.numpy(), source.numpy(), strict=True):
        _, _, disparity = procrustes(a, b)  # scaled by the norm of the centred target
        spread = np.square(a - a.mean(0)).sum()
        # scipy allows reflections; these poses are close enough that none is better
        assert np.square(ours - a).sum() / spread == pytest.approx(disparity, rel=1e-9)


def test_rigid_rotation_is_scipys_kabsch():
    source, target = poses(1)
    fitted = fit_similarity(source, target, with_scale=False)
    for R, a, b in zip(fitted.R.numpy(), target.numpy(), source.numpy(), strict=True):
        expected, _ = Rotation.align_vectors(a - a.mean(0), b - b.mean(0))
        np.testing.assert_allclose(R, expected.as_matrix(), atol=1e-9)


@pytest.mark.parametrize("with_scale", [True, False])
def test_agrees_with_roma_on_masked_points(with_scale):
    source, target = poses(2)
    valid = torch.rand(5, 21, generator=torch.Generator().manual_seed(3)) > 0.4
    ours = fit_similarity(source, target, valid, with_scale=with_scale)
    found = roma.rigid_points_registration(source, target, weights=valid.double(), compute_scaling=with_scale)
    torch.testing.assert_close(ours.R, found[0])
    torch.testing.assert_close(ours.t, found[1])
    if with_scale:
        torch.testing.assert_close(ours.scale, found[2])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 20), st.integers(3, 21))
def test_recovers_a_known_transform_and_ignores_invalid_points(seed, scale, n_valid):
    source, _ = poses(seed, batch=2)
    R = roma.random_rotmat(2).double()
    target = scale * source @ R.transpose(1, 2) + 37.0
    valid = torch.zeros(2, 21, dtype=torch.bool)
    valid[:, torch.randperm(21, generator=torch.Generator().manual_seed(seed))[:n_valid]] = True
    spoiled = torch.where(valid[..., None], source, torch.nan)
    fitted = fit_similarity(spoiled, torch.where(valid[..., None], target, torch.inf), valid)
    torch.testing.assert_close(fitted.apply(source), target, rtol=1e-6, atol=1e-4 * scale)


def test_never_reflects():
    source, _ = poses(4)
    mirrored = source * torch.tensor([-1.0, 1.0, 1.0])
    fitted = fit_similarity(source, mirrored)
    torch.testing.assert_close(torch.linalg.det(fitted.R), torch.ones(5, dtype=torch.float64))
    assert (fitted.scale > 0).all()
    assert torch.linalg.vector_norm(fitted.apply(source) - mirrored, dim=-1).mean() > 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["none valid", "one valid", "two valid", "on a line", "in one place"])
def test_degenerate_sets_are_only_translated(case, dtype):
    source, target = (points.to(dtype) for points in poses(5))
    valid = torch.ones(5, 21, dtype=torch.bool)
    if case.endswith("valid"):
        valid[:, {"none valid": 0, "one valid": 1, "two valid": 2}[case] :] = False
    elif case == "on a line":
        source = torch.linspace(0, 100, 21, dtype=dtype)[:, None].expand(5, 21, 1) * torch.tensor([1.0, 2, -1]).to(
            dtype
        )
    else:
        source = torch.full_like(source, 3.0)
    aligned = align_similarity(source, target, valid)
    count = valid.sum(1, keepdim=True).clamp_min(1)[..., None]
    centroids = [torch.where(valid[..., None], p, 0).sum(1, keepdim=True) / count for p in (source, target)]
    torch.testing.assert_close(aligned, source + centroids[1] - centroids[0], rtol=1e-4, atol=1e-3)
