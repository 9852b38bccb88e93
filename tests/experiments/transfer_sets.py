"""The datasets of the published transfers in a few frames, and the recipes at a size that trains in a second or two."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from PIL import Image

from data import test_mvhand, test_surreal, test_threedpw
from data.depth_releases import write_icvl_frame
from data.hand_sets import hand_mm, ordered, pinhole
from data.on_disk import write_image
from data.test_human36m import CAMERAS, poses_mm, write_metadata
from data.test_human36m import SIZE as HUMAN36M_PX
from data.test_rhd import annotation, hand_xyz
from experiments.small_depth import quick
from experiments.small_latents import smaller
from posebridge.data.datasets.human36m import SUBJECTS
from posebridge.data.datasets.mvhand import MVHand
from posebridge.data.skipped_list import SkippedList
from posebridge.deployment.model_spec import PoseSpec
from posebridge.experiments.configs import DatasetRef, TrainConfig
from posebridge.experiments.datasets import DatasetData, dataset_data
from posebridge.experiments.train import train_preset
from posebridge.experiments.transfers import TRANSFERS
from posebridge.methods.base import MethodConfig
from posebridge.methods.dual_modality.config import DualModalityConfig
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.pretraining import PretrainingConfig
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.methods.registry import find_method
from posebridge.methods.semihand.config import SemiHandConfig
from posebridge.methods.supervised_target import SupervisedTargetConfig
from posebridge.networks.hourglass import HourglassConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.networks.reconstruction import GeneratorConfig
from posebridge.presets.preset import DataSizes, Preset
from posebridge.skeletons.hand import HAND21

COLOUR = ("rhd-to-h3d", "rhd-to-mvhand", "surreal-to-human36m", "surreal-to-3dpw")
FRAMES = 12  # of a video
SIDE = 32
STEPS = 2
_NETWORK = PoseResNetConfig("test_resnet", encoder_stride=16, decoder_channels=8)


class Folders(NamedTuple):
    source: Path
    target: Path


def write_sets(root: Path) -> dict[str, Folders]:
    """Every dataset, and the two folders of each transfer."""
    for write in (write_rhd, write_h3d, _write_mvhand, _write_surreal, _write_human36m, _write_threedpw):
        write(root / write.__name__.rpartition("_")[2])
    return {
        name: Folders(*(root / side for side in sides))
        for name, sides in {
            "rhd-to-h3d": ("rhd", "h3d"),
            "rhd-to-mvhand": ("rhd", "mvhand"),
            "surreal-to-human36m": ("surreal", "human36m"),
            "surreal-to-3dpw": ("surreal", "threedpw"),
        }.items()
    }


def tiny(preset: Preset) -> Preset:
    """A preset of datasets with a few steps of a network for images of 32 px."""
    if "multi-view-fusion" in preset.methods:
        return quick(preset)
    if "aligned-latent-spaces" in preset.methods:
        return smaller(preset, SIDE, STEPS)
    assert isinstance(preset.model, PoseSpec)
    assert preset.source is not None
    return replace(
        preset,
        model=replace(preset.model, size_px=SIDE, network=replace(_NETWORK, joints=preset.model.network.joints)),
        source=_brief(preset.source),
        selection=replace(preset.selection, evaluations=2),
        data=DataSizes(source=66, source_clips=3, test=14),
        methods={name: _tiny_method(config) for name, config in preset.methods.items()},
    )


def _tiny_method(config: MethodConfig) -> MethodConfig:
    if isinstance(config, SupervisedTargetConfig):
        return replace(config, training=_brief(config.training))
    if isinstance(config, MeanTeacherConfig):
        return _brief(config)
    if isinstance(config, GeometricReconstructionConfig):
        return _tiny_geometric(config)
    if isinstance(config, SemiHandConfig):
        return replace(config, model=None)  # the hourglass has maps of 64 px
    if isinstance(config, DualModalityConfig):
        fine_tuning = config.fine_tuning and _brief(config.fine_tuning)
        return replace(config, pretraining=_brief(config.pretraining), fine_tuning=fine_tuning)
    return config


def _brief(config, **changes):
    return replace(config, schedule=replace(config.schedule, steps=STEPS), batch_size=4, **changes)


def _tiny_geometric(config: GeometricReconstructionConfig) -> GeometricReconstructionConfig:
    config = _brief(config, pretraining=_brief(PretrainingConfig()))
    reconstruction = config.reconstruction
    config = replace(config, warm_start=replace(config.warm_start, steps=STEPS))
    if reconstruction is None:
        return config
    warping = replace(
        reconstruction.reconstructor.warping, hourglass=HourglassConfig(blocks=2, channels=4, most_channels=8)
    )
    generator = GeneratorConfig(channels=4, most_channels=8, residual_blocks=1)
    return replace(
        config,
        reconstruction=replace(
            reconstruction,
            reconstructor=replace(reconstruction.reconstructor, warping=warping, generator=generator),
            schedule=replace(reconstruction.schedule, steps=STEPS),
            batch_pairs=2,
        ),
    )


def write_icvl(root: Path) -> None:
    parts = [("Training", "labels.txt", "r", 4)]
    parts += [("Testing", f"test_seq_{i}.txt", f"test_seq_{i}", 3 - i) for i in (1, 2)]
    for folder, listed, sequence, count in parts:
        names = [f"{sequence}/image_{i}.png" for i in range(count)]
        lines = [write_icvl_frame(root / folder / "Depth", name, seed) for seed, name in enumerate(names)]
        (root / folder / listed).write_text("".join(lines))


def _draw(file: Path, uv_px: np.ndarray, width: int, height: int) -> None:
    """A picture of joints, whose colours are their own, on a ground of noise."""
    image = np.random.default_rng(0).integers(60, 120, (height, width, 3), dtype=np.uint8)
    colours = np.random.default_rng(1).integers(120, 256, (len(uv_px), 3))
    for (u, v), colour in zip(uv_px.round().astype(int), colours, strict=True):
        image[max(0, v - 3) : v + 4, max(0, u - 3) : u + 4] = colour
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file)


def write_rhd(root: Path) -> None:
    for split, count in (("training", 6), ("evaluation", 1)):
        annotations = {}
        for i in range(count):
            annotations[i] = annotation(hand_xyz((-0.1, 0, 0.5), 2 * i), hand_xyz((0.1, 0, 0.5), 2 * i + 1))
            _draw(root / split / "color" / f"{i:05d}.png", annotations[i]["uv_vis"][:, :2], 320, 320)
        with (root / split / f"anno_{split}.pickle").open("wb") as file:
            pickle.dump(annotations, file, protocol=2)


def write_h3d(root: Path) -> None:
    K, samples = np.array([[900.0, 0, 130], [0, 880, 120], [0, 0, 1]]), []
    for i in range(2 * FRAMES):
        joints = ordered(hand_mm(i), HAND21.joints)
        name = f"part1/camera_{i % 2}/{i:04d}.jpg"
        _draw(root / name, pinhole(joints, K), 256, 256)
        samples.append(
            {
                "name": name,
                "without_object": 1,
                "keypoint2d": pinhole(joints, K).tolist(),
                "keypoint3d": joints.tolist(),
                "intrinsic_matrix": K.tolist(),
            }
        )
    (root / "annotation.json").write_text(json.dumps(samples))


def _write_mvhand(root: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_mvhand, "FRAMES", 7)
        for seed, person in enumerate(test_mvhand.PEOPLE):
            test_mvhand.write_person(root / person, 10 * seed)
    reader = MVHand(root, "all")
    for i in range(len(reader)):
        record = reader.record(i)
        _draw(record.file, record.uv_px, 640, 480)


def _write_surreal(root: Path) -> None:
    for clip in range(4):
        test_surreal.write_clip(root / "cmu/train/run0", f"01_0{clip}_c0001", 11)


def _write_human36m(root: Path) -> None:
    """Every fifth frame of a video, extracted."""
    numbers = np.arange(1, 3 * FRAMES, 5)
    root.mkdir(parents=True)
    write_metadata(root)
    for subject in (subject for part in SUBJECTS["protocol1"].values() for subject in part):
        folder = root / f"S{subject}" / "Directions-1"
        for camera in CAMERAS:
            for number in numbers:
                write_image(
                    folder / "imageSequence" / camera / f"img_{number:06d}.jpg", HUMAN36M_PX, HUMAN36M_PX, number
                )
        with h5py.File(folder / "annot.h5", "w") as file:
            file["pose/3d"] = np.concatenate([poses_mm(3 * FRAMES)[numbers - 1] for _ in CAMERAS])
            file["frame"] = np.tile(numbers, len(CAMERAS))
            file["camera"] = np.repeat([int(camera) for camera in CAMERAS], len(numbers))


def _write_threedpw(root: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_threedpw, "FRAMES", FRAMES)
        everyone = [np.ones(FRAMES, int)] * 2
        for split in ("train", "test"):
            test_threedpw.write(
                root,
                f"{split}_00",
                split,
                images=FRAMES,
                campose_valid=everyone,
                poses2d=[np.ones((FRAMES, 3, 18))] * 2,
            )


def config_of(sets: dict[str, Folders], name: str, method: str = "source-only", **changes) -> TrainConfig:
    """The config of a named transfer on these folders."""
    transfer = TRANSFERS[name]
    assert transfer.source is not None
    source, target = sets[name]
    config = TrainConfig(
        source=DatasetRef(transfer.source, source),
        target=DatasetRef(transfer.target, target),
        method=method,
        recipe=name,
    )
    return replace(config, **changes)


def opened(sets: dict[str, Folders], name: str, **changes) -> DatasetData:
    """The data of a named transfer at the smallest size."""
    config = config_of(sets, name, **changes)
    skipped = SkippedList(sets[name].target.parent / f"unreadable-{name}.jsonl")
    return dataset_data(config, find_method(config.method), tiny(train_preset(config)), skipped, workers=0)
