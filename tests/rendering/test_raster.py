import torch

from posebridge.rendering.raster import Raster


def test_covered_pixels_are_gathered_and_scattered():
    generator = torch.Generator().manual_seed(0)
    face_index = torch.randint(-1, 3, (3, 4, 5), generator=generator)
    depth = torch.rand(3, 4, 5, generator=generator)
    raster = Raster(face_index, torch.zeros(3, 4, 5, 3), depth)
    image = torch.rand(3, 4, 5, 2, generator=generator)
    assert torch.equal(raster.gather(image), image[face_index >= 0])
    back = raster.scatter(raster.gather(image), background=-7.0)
    assert torch.equal(back, torch.where(raster.mask[..., None], image, torch.tensor(-7.0)))
    expected = (face_index >= 0).nonzero()
    assert torch.equal(raster.hit_image, expected[:, 0])
    assert torch.equal(raster.hit_uv_px[0], expected[:, 2].float())
    assert torch.equal(raster.hit_uv_px[1], expected[:, 1].float())
    assert raster.hit_counts == [int((image >= 0).sum()) for image in face_index]
