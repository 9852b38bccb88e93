"""Labelled batches of random numbers with the fields of every track, and sets of them on disk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.sample_codec import ImageCoding
from posebridge.data.shard_writer import ShardWriter
from posebridge.data.shards import SetIndex, encode_piece

SIZE, JOINTS, CHUNK, SHARD = 12, 5, 4, 8


def rgb_batch(count: int = CHUNK, seed: int = 0) -> LabelledBatch:
    """Colour images with depth, masks and joints, of one camera with distortion."""
    draw = torch.Generator().manual_seed(seed)
    depth_m = 0.3 + torch.rand(count, SIZE, SIZE, generator=draw)
    mask = torch.rand(count, SIZE, SIZE, generator=draw) < 0.5
    joints_m = torch.randn(count, JOINTS, 3, generator=draw)
    joints_m[0, 1] = float("nan")
    joints_m[0, 2] = torch.tensor([1e-30, -0.1, 123456.789])
    valid = torch.rand(count, JOINTS, generator=draw) < 0.8
    return LabelledBatch(
        image=torch.rand(count, 3, SIZE, SIZE, generator=draw),
        key=tuple(f"studio-{seed}-{i:08d}" for i in range(count)),
        camera=Camera(torch.randn(count, 3, 3, generator=draw), torch.randn(count, 5, generator=draw)),
        T_crop_file=torch.randn(count, 3, 3, generator=draw),
        depth_label_m=torch.where(mask, depth_m, 0.0),
        uv_px=50 * torch.randn(count, JOINTS, 2, generator=draw),
        valid=valid,
        visible=valid & (torch.rand(count, JOINTS, generator=draw) < 0.5),
        joints_m=joints_m,
        mask=mask,
        hand_mask=mask & (depth_m < 0.8),
        vertices_m=torch.randn(count, 7, 3, generator=draw),
        angles_rad=torch.randn(count, 4, generator=draw),
        phenotypes=torch.rand(count, 6, generator=draw),
    )


def depth_batch(sets: int = 2, views: int = 3) -> LabelledBatch:
    """Depth of several calibrated views."""
    count = sets * views
    draw = torch.Generator().manual_seed(1)
    colour = rgb_batch(count)
    return replace(
        colour,
        image=None,
        depth_m=colour.depth_label_m,
        depth_label_m=None,
        T_crop_file=None,
        vertices_m=None,
        key=tuple(f"street-0-{i // views:08d}_{i % views}" for i in range(count)),
        sequence=tuple(f"street-0-{i // views:08d}" for i in range(count)),
        frame=torch.zeros(count, dtype=torch.long),
        view=torch.arange(views).repeat(sets),
        T_world_cam=torch.randn(count, 4, 4, generator=draw),
        centre_m=torch.randn(count, 3, generator=draw),
    )


def video_batch(count: int = 4) -> LabelledBatch:
    """Frames of two videos, without depth."""
    batch = rgb_batch(count)
    assert batch.camera is not None
    return replace(
        batch,
        camera=Camera(batch.camera.K),
        depth_label_m=None,
        mask=None,
        hand_mask=None,
        vertices_m=None,
        joints_m=None,
        key=tuple(f"street-0-{i // 2:06d}_{i % 2:06d}" for i in range(count)),
        sequence=tuple(f"street-0-{i // 2:06d}" for i in range(count)),
        frame=torch.arange(count) % 2,
    )


def set_index(count: int, coding: ImageCoding | None = None, seed: int = 0) -> SetIndex:
    return SetIndex({"domain": "dice", "seed": seed}, coding or ImageCoding(), CHUNK, SHARD, count)


def write_set(
    folder: Path, count: int, index: SetIndex | None = None, on_progress: Callable[[int], None] = lambda chunk: None
) -> ShardWriter:
    """Write a set whose chunk c is ``rgb_batch`` of seed c; ``on_progress`` is called before each chunk."""
    with ShardWriter(folder, index or set_index(count)) as writer:
        for piece in writer.missing():
            on_progress(piece.chunk)
            batch = rgb_batch(seed=piece.chunk)[: piece.samples]
            writer.add(piece, encode_piece(batch, piece.chunk * CHUNK, writer.index.coding))
    return writer
