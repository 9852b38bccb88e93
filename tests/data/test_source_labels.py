"""Requested labels are kept, others dropped, and missing ones refused by name."""

from dataclasses import fields, replace

import pytest
import torch

from data.labelled import depth_batch, rgb_batch
from posebridge.contracts.source_labels import FIELDS_OF, JOINTS
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.source_labels import rendered_source, select_labels
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.synthesis.domains import find_domain, render

LABEL_FIELDS = {name for names in FIELDS_OF.values() for name in names}
ALL = frozenset(FIELDS_OF)


def present(batch) -> set[str]:
    return {f.name for f in fields(batch) if getattr(batch, f.name) is not None}


def test_every_label_field_belongs_to_a_label():
    batch = rgb_batch()
    assert present(batch) - LABEL_FIELDS == present(batch.unlabelled())


@pytest.mark.parametrize("label", FIELDS_OF)
def test_each_label_selects_its_fields(label):
    kept = select_labels(rgb_batch(), frozenset({label}))
    assert present(kept) & LABEL_FIELDS == set(FIELDS_OF[label])
    assert select_labels(kept, JOINTS).key == kept.key


def test_renders_keep_only_joints_by_default():
    batch = render(find_domain("hand-rgb", "studio"), 2, 32, generator_for(1, 1))
    plain = rendered_source(batch, JOINTS)
    assert present(plain) & LABEL_FIELDS == set(FIELDS_OF["joints"])
    assert torch.equal(plain.rgb, batch.rgb)
    whole = rendered_source(batch, ALL)
    for name in ("mask", "hand_mask", "depth_label_m", "uv_px"):
        assert torch.equal(getattr(whole, name), getattr(batch, name))
    # The mesh is recomputed from the pose: it projects into the mask.
    uv = batch.camera.project(whole.vertices_m).round().long()
    inside = ((uv >= 0) & (uv < 32)).all(-1)
    column, row = uv.clamp(0, 31).unbind(-1)
    nearby = torch.nn.functional.max_pool2d(batch.mask[:, None].float(), 3, 1, 1)[:, 0] > 0
    assert nearby[torch.arange(2)[:, None], row, column][inside].float().mean() > 0.99


def test_depth_crops_become_images_of_their_cube():
    batch = render(find_domain("hand-depth", "studio"), 1, 32, generator_for(1, 1))
    found = rendered_source(batch, frozenset({"joints", "mask", "hand_mask", "vertices"}), cube_m=0.25)
    assert found.rgb.shape == (3, 3, 32, 32)
    assert found.depth_m is None
    assert found.sensor == "depth"
    assert torch.equal(found.hand_mask, batch.hand_mask)
    assert found.vertices_m is not None
    with pytest.raises(ValueError, match="give the side of their cube"):
        rendered_source(batch, JOINTS)


@pytest.mark.parametrize(
    ("track", "label", "where"),
    [
        ("body-rgb", "hand_mask", "renders of hands and RHD"),
        ("body-rgb", "vertices", "renders of hands, and FreiHAND"),
        ("hand-depth", "depth", "renders of hand-rgb and body-rgb"),
    ],
)
def test_a_missing_label_is_refused_by_name(track, label, where):
    batch = render(find_domain(track, "studio"), 1, 32, generator_for(1, 1))
    with pytest.raises(InputError, match=f"no label {label}, which {where}.*: choose another source") as refused:
        rendered_source(batch, JOINTS | {label}, cube_m=0.25)
    assert "\n" not in str(refused.value)


def test_labels_in_memory():
    batches = [rgb_batch(seed=seed) for seed in range(3)]
    dataset = InMemoryDataset(batches)
    whole = dataset.take(torch.tensor([9, 0, 4]))
    for row, (batch, place) in enumerate(((batches[2], 1), (batches[0], 0), (batches[1], 0))):
        assert torch.equal(whole.mask[row], batch.mask[place])
        assert torch.equal(whole.hand_mask[row], batch.hand_mask[place])
        assert torch.equal(whole.vertices_m[row], batch.vertices_m[place])
        assert (whole.depth_label_m[row] - batch.depth_label_m[place]).abs().max() <= 1.01e-4
    assert whole.mask.dtype == whole.hand_mask.dtype == torch.bool
    assert dataset.without_images().depth_label_m is None
    target = dataset.map(lambda batch: batch.unlabelled()).all()
    assert present(target) == present(batches[0].unlabelled())


def test_depth_too_far_for_memory_is_refused():
    batch = rgb_batch()
    far = replace(batch, depth_label_m=torch.full_like(batch.depth_label_m, 13.2))
    with pytest.raises(InputError, match=r"depth labels reach 13\.2 m"):
        InMemoryDataset([far])


def test_measured_depth_is_kept_exactly():
    batch = depth_batch()
    assert torch.equal(InMemoryDataset([batch]).all().depth_m, batch.depth_m)
