import pytest
import torch

from meshes import bumpy_spheres, cast_rays, pinhole, skewed_cameras, soup
from posebridge.rendering import rasterise as reference
from posebridge.rendering.rasterise_warp import rasterise

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]


def assert_twins(vertices, faces, K, height, width, device):
    """Equal to the last bit on the CPU; on other devices all but 0.1% of the pixels."""
    expected = reference.rasterise(vertices, faces, K, height, width)
    raster = rasterise(vertices.to(device), faces.to(device), K.to(device), height, width)
    same = raster.face_index.cpu() == expected.face_index
    if device == "cpu":
        assert same.all()
        assert torch.equal(raster.depth_m, expected.depth_m)
        assert torch.equal(raster.barycentric, expected.barycentric)
    assert same.double().mean() >= 0.999
    torch.testing.assert_close(raster.depth_m.cpu()[same], expected.depth_m[same], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(raster.barycentric.cpu()[same], expected.barycentric[same], rtol=1e-3, atol=1e-3)
    return expected


@pytest.mark.parametrize("device", DEVICES)
def test_agrees_with_the_reference_on_fine_meshes(device):
    vertices, faces = bumpy_spheres(4)
    expected = assert_twins(vertices, faces, skewed_cameras(48, 64).float(), 48, 64, device)
    assert expected.mask.float().mean() > 0.05


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_reference_on_triangle_soup(device, seed):
    vertices, faces = soup(4, 200, seed)
    assert (vertices[..., 2] < 0).any()
    vertices[:, :3] = torch.nan
    assert_twins(vertices.float(), faces, skewed_cameras(33, 31).float(), 33, 31, device)


@pytest.mark.parametrize("device", DEVICES)
def test_ties_go_to_the_lowest_index(device):
    vertices, faces = soup(4, 40, 9)
    assert_twins(
        vertices.float(), torch.cat([faces, faces.flip(1), faces]), skewed_cameras(32, 32).float(), 32, 32, device
    )


def test_agrees_with_ray_casting():
    vertices, faces = soup(1, 30, 2)
    K = skewed_cameras(14, 17)[3:]
    raster = rasterise(vertices.float(), faces, K.float(), 14, 17)
    face_index, _, depth = cast_rays(vertices[0].numpy(), faces.numpy(), K[0].numpy(), 14, 17)
    assert (raster.face_index[0].numpy() == face_index).all()
    torch.testing.assert_close(raster.depth_m[0].double(), torch.tensor(depth), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_agree_with_the_reference(device):
    vertices, faces = bumpy_spheres(2)
    K = pinhole(100.0, 40, 40, 2).float()
    weights = torch.randn(2, 40, 40, 4, generator=torch.Generator().manual_seed(0))
    gradients = []
    for function, where in ((reference.rasterise, "cpu"), (rasterise, device)):
        leaf = vertices.to(where).requires_grad_()
        raster = function(leaf, faces.to(where), K.to(where), 40, 40)
        values = torch.cat([raster.barycentric * 0.01, raster.depth_m[..., None]], -1)
        gradients.append(torch.autograd.grad((values * weights.to(where)).sum(), leaf)[0].cpu())
    assert gradients[0].abs().max() > 1
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)


def test_gradients_match_finite_differences_in_double():
    """Warp in float32 against differences of the reference in float64, without pixels that change faces."""
    vertices, faces = bumpy_spheres(1)
    K = pinhole(100.0, 40, 40)
    move = torch.randn(vertices.shape, generator=torch.Generator().manual_seed(0)).double()
    leaf = vertices.clone().requires_grad_()
    raster = rasterise(leaf, faces, K.float(), 40, 40)
    plus, minus = (reference.rasterise(vertices.double() + s * 1e-8 * move, faces, K, 40, 40) for s in (1, -1))
    same = (plus.face_index == raster.face_index) & (minus.face_index == raster.face_index) & raster.mask
    assert same.sum() > 0.95 * raster.mask.sum()
    (gradient,) = torch.autograd.grad(raster.depth_m[same].mean(), leaf)
    numeric = (plus.depth_m - minus.depth_m)[same].mean() / 2e-8
    torch.testing.assert_close((gradient.double() * move).sum(), numeric, rtol=1e-3, atol=1e-5)


def test_values_do_not_depend_on_gradient_mode():
    vertices, faces = bumpy_spheres(2)
    K = pinhole(100.0, 40, 40, 2).float()
    fast = rasterise(vertices, faces, K, 40, 40)
    with torch.no_grad():
        untracked = rasterise(vertices.clone().requires_grad_(), faces, K, 40, 40)
    slow = rasterise(vertices.clone().requires_grad_(), faces, K, 40, 40)
    assert not untracked.depth_m.requires_grad
    assert slow.depth_m.requires_grad
    for name in ("face_index", "depth_m", "barycentric"):
        assert torch.equal(getattr(fast, name), getattr(slow, name))
        assert torch.equal(getattr(fast, name), getattr(untracked, name))


def test_memory_layouts_and_integer_types_make_no_difference():
    vertices, faces = bumpy_spheres(2)
    K = pinhole(100.0, 24, 24, 2).float()
    expected = rasterise(vertices, faces, K, 24, 24)
    strided = vertices.transpose(0, 1).contiguous().transpose(0, 1)
    raster = rasterise(strided, faces.t().contiguous().t().int(), K[:1].expand(2, 3, 3), 24, 24)
    assert torch.equal(raster.face_index, expected.face_index)


def test_no_faces_give_only_background():
    raster = rasterise(torch.zeros(2, 0, 3), torch.zeros(0, 3, dtype=torch.int64), pinhole(9.0, 3, 4, 2).float(), 3, 4)
    assert (raster.face_index == -1).all()
    assert raster.depth_m.abs().sum() == raster.barycentric.abs().sum() == 0


def test_double_precision_is_refused():
    vertices, faces = bumpy_spheres(1)
    with pytest.raises(TypeError, match="float32"):
        rasterise(vertices.double(), faces, pinhole(9.0, 4, 4), 4, 4)
