import io
import json
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from data.labelled import depth_batch, rgb_batch, video_batch
from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.data.frames import UnreadableFrameError
from posebridge.data.sample_codec import ImageCoding, decode_sample, encode_sample
from posebridge.errors import InputError

QUANTISED = ("image", "depth_m", "depth_label_m")


def there_and_back(batch: LabelledBatch, coding: ImageCoding) -> LabelledBatch:
    samples = [decode_sample(encode_sample(batch[i : i + 1], i, coding), coding) for i in range(len(batch))]
    assert [number for number, _ in samples] == list(range(len(batch)))
    return concatenate([sample for _, sample in samples])


def same(a, b) -> bool:
    if isinstance(a, Camera):
        return same(a.K, b.K) and same(a.distortion, b.distortion)
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(torch.nan_to_num(a, nan=-7.0), torch.nan_to_num(b, nan=-7.0))
    return a == b


@pytest.mark.parametrize("batch", [rgb_batch(), depth_batch(), video_batch()], ids=["rgb", "depth", "video"])
@pytest.mark.parametrize("image", ["png", "jpg"])
def test_every_field_survives_encoding(batch, image):
    back = there_and_back(batch, ImageCoding(image))
    for f in fields(LabelledBatch):
        before, after = getattr(batch, f.name), getattr(back, f.name)
        if f.name in QUANTISED and before is not None:
            assert (after.dtype, after.shape) == (before.dtype, before.shape)
        else:
            assert same(before, after), f.name


def test_every_field_has_a_codec():
    """A new field of batches has to be added to the codec, or it is lost silently."""
    filled = [rgb_batch(1), depth_batch(1, 1)]
    assert all(any(getattr(batch, f.name) is not None for batch in filled) for f in fields(LabelledBatch))


def test_png_is_the_image_rounded_to_8_bit():
    batch = rgb_batch()
    back = there_and_back(batch, ImageCoding("png"))
    assert torch.equal(back.rgb, torch.round(batch.rgb * 255) / 255)


def test_jpeg_matches_another_decoder():
    batch, coding = rgb_batch(1), ImageCoding("jpg", quality=80)
    smooth = replace(
        batch, image=torch.linspace(0, 1, 12) * torch.tensor([0.9, 0.5, 0.2])[None, :, None, None].expand(1, 3, 12, 12)
    )
    members = encode_sample(smooth, 0, coding)
    decoded = cv2.imdecode(np.frombuffer(members["rgb.jpg"], np.uint8), cv2.IMREAD_COLOR_RGB)
    ours = decode_sample(members, coding)[1].rgb
    assert torch.equal(ours[0], torch.from_numpy(decoded).permute(2, 0, 1).float() / 255)
    assert (ours - smooth.rgb).abs().max() < 0.1


@pytest.mark.parametrize("unit_mm", [0.1, 0.125, 2.0])
def test_depth_is_off_by_half_a_unit_at_most(unit_mm):
    batch, coding = rgb_batch(), ImageCoding(depth_unit_mm=unit_mm)
    members = encode_sample(batch[:1], 0, coding)
    stored = cv2.imdecode(np.frombuffer(members["depth.png"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    back = there_and_back(batch, coding)
    np.testing.assert_array_equal(
        (stored * np.float64(unit_mm) / 1000).astype(np.float32), back.depth_label_m[0].numpy()
    )
    assert (back.depth_label_m - batch.depth_label_m).abs().max() <= unit_mm / 2000 + 1e-6
    assert torch.equal(back.depth_label_m == 0, batch.depth_label_m == 0)
    assert torch.equal(there_and_back(back, coding).depth_label_m, back.depth_label_m)


def test_smallest_depth_is_not_missing():
    batch = rgb_batch(1)
    tiny = replace(batch, depth_label_m=torch.full_like(batch.depth_label_m, 1e-6))
    assert (there_and_back(tiny, ImageCoding()).depth_label_m == torch.tensor(1e-4)).all()


@pytest.mark.parametrize("depth_m", [6.6, -0.1, float("nan"), float("inf")])
def test_depth_that_does_not_fit_is_refused(depth_m):
    batch = rgb_batch(1)
    beyond = replace(batch, depth_label_m=torch.full_like(batch.depth_label_m, depth_m))
    with pytest.raises(InputError, match=r"studio-0-00000000: depth .* doesn't fit 16 bit .* reach 6.55 m") as raised:
        encode_sample(beyond, 0, ImageCoding())
    assert "\n" not in str(raised.value)


def test_floats_of_every_size_survive_encoding_exactly():
    bits = np.random.default_rng(0).integers(0, 2**32, 30_000, dtype=np.uint32).view(np.float32)
    values = torch.from_numpy(bits[np.isfinite(bits)][:20_000].copy()).reshape(1, -1, 2)
    batch = LabelledBatch(image=None, key=("a",), uv_px=values)
    back = decode_sample(encode_sample(batch, 0, ImageCoding()), ImageCoding())[1]
    assert torch.equal(back.uv_px, values)


def test_members_are_read_by_other_libraries():
    batch = rgb_batch(1)
    members = encode_sample(batch, 41, ImageCoding())
    assert list(members) == ["rgb.png", "depth.png", "mask.png", "hand_mask.png", "vertices_m.npy", "json"]
    labels = json.loads(members["json"])
    assert labels["key"] == batch.key[0]
    assert labels["number"] == 41
    assert labels["joints_m"][1] == [None, None, None]
    np.testing.assert_allclose(labels["camera"]["K"], batch.camera.K[0].numpy(), rtol=1e-6)
    for name in ("mask", "hand_mask"):
        stored = np.array(Image.open(io.BytesIO(members[f"{name}.png"])))
        assert np.array_equal(stored == 255, getattr(batch, name)[0].numpy())
    assert np.array_equal(np.load(io.BytesIO(members["vertices_m.npy"])), batch.vertices_m[0].numpy())


def test_every_flipped_byte_is_detected():
    members = encode_sample(rgb_batch(1), 0, ImageCoding("jpg"))
    random = np.random.default_rng(0)
    for suffix, data in members.items():
        for at in random.integers(0, len(data), 20):
            flipped = data[:at] + bytes([data[at] ^ 1 << random.integers(8)]) + data[at + 1 :]
            with pytest.raises(UnreadableFrameError, match=r"shard\.tar:key: damaged"):
                decode_sample({**members, suffix: flipped}, ImageCoding("jpg"), "shard.tar:key")


def test_missing_and_foreign_members_are_detected():
    members = encode_sample(rgb_batch(1), 0, ImageCoding())
    for suffix in members:
        with pytest.raises(UnreadableFrameError):
            decode_sample({name: data for name, data in members.items() if name != suffix}, ImageCoding())
    with pytest.raises(UnreadableFrameError):
        decode_sample({"json": b'{"key": "a"}'}, ImageCoding())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "webp"}, "written as webp"),
        ({"quality": 0}, "quality 0"),
        ({"depth_unit_mm": 0.0}, "depth unit of 0 mm"),
        ({"depth_unit_mm": float("nan")}, "depth unit of nan mm"),
    ],
)
def test_impossible_codings(options, message):
    with pytest.raises(InputError, match=message):
        ImageCoding(**options)
