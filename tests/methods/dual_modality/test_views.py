"""Views of the source, and textures of depth maps."""

from dataclasses import replace

import pytest
import torch

from methods.dual_modality.masked_hands import PLAIN, STRONG_VIEWS, UNTEXTURED, labelled, other_images
from posebridge.errors import InputError
from posebridge.methods.dual_modality.views import DepthTextureConfig, ViewConfig, source_view, textured_depth
from posebridge.skeletons.hand import HAND21

pytestmark = pytest.mark.usefixtures("one_thread")


def test_masks_and_depth_follow_the_image():
    """Depth at a joint in a view is that of the nearest joint there, as before the view."""
    batch = labelled()
    view = source_view(
        batch, replace(PLAIN, geometry=STRONG_VIEWS), None, torch.Generator().manual_seed(0), HAND21.mirror
    )
    assert not torch.equal(view.rgb, batch.rgb)
    same = total = 0
    for i in range(len(view)):
        for j, (u, v) in enumerate(view.uv_px[i].round().long().tolist()):
            if 0 <= u < 32 and 0 <= v < 32 and view.hand_mask[i, v, u]:
                total += 1
                near = (view.uv_px[i] - view.uv_px[i, j]).norm(dim=-1) < 2.5
                same += bool(((view.joints_m[i, near, 2] - view.depth_label_m[i, v, u]).abs() < 1e-6).any())
    assert total > 500
    assert same / total > 0.95


def test_other_backgrounds_leave_the_hand(tmp_path):
    batch, images = labelled(), other_images(tmp_path)
    config = replace(PLAIN, composited_frac=0.5)
    view = source_view(batch, config, images, torch.Generator().manual_seed(0), HAND21.mirror)
    changed = (view.rgb != batch.rgb).flatten(1).any(1)
    assert 0.2 < changed.float().mean() < 0.8
    inner = torch.nn.functional.max_pool2d((~batch.hand_mask).float()[:, None], 3, 1, 1)[:, 0] == 0
    assert torch.equal(view.rgb.permute(0, 2, 3, 1)[inner], batch.rgb.permute(0, 2, 3, 1)[inner])
    with pytest.raises(ValueError, match="need hand_mask"):
        source_view(replace(batch, hand_mask=None), config, images, torch.Generator(), HAND21.mirror)


def test_textures_of_depth():
    """Boxes change a connected part to one value; noise sets pixels to 0 or 1; neither changes the original."""
    depth = 0.2 + 0.6 * torch.rand(200, 24, 24, generator=torch.Generator().manual_seed(0))
    kept = depth.clone()
    erased = textured_depth(depth, replace(UNTEXTURED, erase_probability=1.0, erase_side=0.4), torch.Generator())
    assert torch.equal(depth, kept)
    for before, after in zip(depth, erased, strict=True):
        rows, columns = (before != after).nonzero(as_tuple=True)
        if len(rows):
            box = after[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert (box == box[0, 0]).all()
            assert max(box.shape) <= 0.4 * 24 + 1
    noisy = textured_depth(depth, replace(UNTEXTURED, noise_probability=1.0, noise_frac=0.2), torch.Generator())
    changed = noisy != depth
    assert set(noisy[changed].tolist()) == {0.0, 1.0}
    assert changed.float().mean() == pytest.approx(0.1, abs=0.01)  # uniform in [0, 0.2]
    assert torch.equal(textured_depth(depth, UNTEXTURED, torch.Generator()), depth)


def test_impossible_strengths_are_refused():
    with pytest.raises(InputError, match=r"noise_frac=1.5: give a number in \[0, 1\]"):
        DepthTextureConfig(noise_frac=1.5)
    with pytest.raises(InputError, match="composited_frac"):
        ViewConfig(composited_frac=-0.1)
