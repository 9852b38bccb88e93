"""The recipes at a size that trains in a second or two, and targets for them."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from data.on_disk import truncate
from experiments.small_depth import quick
from experiments.small_latents import smaller
from experiments.transfer_sets import tiny
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.deployment.model_spec import ImageSynthesisSpec, LatentPoseSpec, PoseSpec
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.synthshift import synthshift_experiment
from posebridge.experiments.synthshift_sets import SynthShiftSets, render_sets
from posebridge.methods.base import MethodConfig
from posebridge.methods.disentangled_vae.config import BoundConfig, DisentangledVAEConfig
from posebridge.methods.dual_modality.config import DualModalityConfig
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.frame_reconstructor import FrameReconstructorConfig
from posebridge.methods.masked_reconstruction.config import MaskedReconstructionConfig
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.methods.semihand.config import SemiHandConfig
from posebridge.methods.supervised_target import SupervisedTargetConfig
from posebridge.networks.hourglass import HourglassConfig
from posebridge.networks.latent_coders import ImageEncoderConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.networks.reconstruction import GeneratorConfig
from posebridge.networks.segmentation import SegmentationConfig
from posebridge.networks.warping import WarpingConfig
from posebridge.presets import table
from posebridge.presets.preset import DataSizes, Preset
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.hand_domains import STREET
from posebridge.synthesis.stream import Samples
from posebridge.training.options import Hardware

ONE_CPU = Hardware(accelerator="cpu", precision="32")
CPU_FLAGS = ("--accelerator", "cpu", "--precision", "32")
SIDE, WIDTH, HEIGHT = 32, 72, 56  # of the network's crops, and of the target's files
PLACE = (10, 4)  # left upper corner of a 48 px render in its file
FRAMES = 12

_NETWORK = PoseResNetConfig(encoder="test_resnet", encoder_stride=16, decoder_channels=8)
_RECONSTRUCTOR = FrameReconstructorConfig(
    warping=WarpingConfig(HourglassConfig(blocks=2, channels=4, most_channels=8)),
    generator=GeneratorConfig(channels=4, most_channels=8, residual_blocks=1),
)


def _brief(config, steps):
    return replace(config, schedule=replace(config.schedule, steps=steps), batch_size=8)


def _method(config: MethodConfig) -> MethodConfig:
    if isinstance(config, SupervisedTargetConfig):
        return replace(config, training=_brief(config.training, 6))
    if isinstance(config, MeanTeacherConfig):
        return _brief(config, 9)
    if isinstance(config, GeometricReconstructionConfig):
        return _geometric(config)
    if isinstance(config, MaskedReconstructionConfig):
        return _masked(config)
    if isinstance(config, SemiHandConfig):
        return _semihand(config)
    if isinstance(config, DualModalityConfig):
        fine_tuning = config.fine_tuning and _brief(config.fine_tuning, 6)
        return replace(config, pretraining=_brief(config.pretraining, 4), fine_tuning=fine_tuning)
    return config


def _geometric(config: GeometricReconstructionConfig) -> GeometricReconstructionConfig:
    config = replace(_brief(config, 9), pretraining=None, warm_start=replace(config.warm_start, steps=4))
    reconstruction = config.reconstruction
    if reconstruction is None:
        return config
    schedule = replace(reconstruction.schedule, steps=4)
    reconstruction = replace(reconstruction, reconstructor=_RECONSTRUCTOR, schedule=schedule, batch_pairs=4)
    return replace(config, reconstruction=reconstruction)


def _masked(config: MaskedReconstructionConfig) -> MaskedReconstructionConfig:
    network = config.model.network
    network = replace(network, vit=replace(network.vit, width=24, depth=2), head_channels=8)
    volumes = replace(config.model.volumes, depth_bins=6)
    segmentation = replace(_brief(config.segmentation, 3), network=SegmentationConfig(width=4))
    pretraining = config.pretraining and _brief(config.pretraining, 4)
    return replace(
        config,
        model=replace(config.model, network=network, volumes=volumes),
        decoder_width=24,
        segmentation=segmentation,
        pretraining=pretraining,
        fine_tuning=replace(_brief(config.fine_tuning, 6), target_batch_size=4),
    )


def _semihand(config: SemiHandConfig) -> SemiHandConfig:
    adaptation = config.adaptation
    if adaptation is not None:
        adaptation = _brief(replace(adaptation, iterations=3), 6)
    return replace(
        config, pretraining=_brief(config.pretraining, 5), circles=_brief(config.circles, 20), adaptation=adaptation
    )


def shrunk(preset: Preset) -> Preset:
    """The preset at a size that trains in a second or two."""
    if "aligned-latent-spaces" in preset.methods:
        return smaller(preset, SIDE)
    if preset.family.startswith("datasets/") and "disentangled-vae" not in preset.methods:
        return tiny(preset)
    if "multi-view-fusion" in preset.methods:
        return quick(preset)
    if "disentangled-vae" in preset.methods:
        return brief_vae(preset)
    assert isinstance(preset.model, PoseSpec)
    assert preset.source is not None
    adapt = preset.family.startswith("adapt/")
    data = (
        DataSizes(source=64, source_with_model=32, source_video_frames=24)
        if adapt
        else DataSizes(source=66, target=48, test=24)
    )
    methods = {name: _method(config) for name, config in preset.methods.items()}
    if preset.family.endswith("-videos"):
        methods["mean-teacher"] = _brief(methods["mean-teacher"], methods["integrated-pseudo-labels"].steps)
    return replace(
        preset,
        model=replace(preset.model, size_px=SIDE, network=replace(_NETWORK, joints=preset.model.network.joints)),
        data=data,
        source=_brief(preset.source, 12),
        selection=replace(preset.selection, evaluations=3, against_source=False),  # a dozen steps never clearly help
        methods=methods,
    )


def brief_vae(preset: Preset) -> Preset:
    """A few steps of a disentangled VAE of 32 px."""
    config = preset.methods["disentangled-vae"]
    assert isinstance(config, DisentangledVAEConfig)
    encoder, model = ImageEncoderConfig("test_resnet", hidden=16), preset.model
    if isinstance(model, LatentPoseSpec):
        network = replace(model.network, latent=8, hidden=(16, 16), encoder=encoder)
        model = replace(model, network=network, size_px=SIDE)
    else:
        assert isinstance(model, ImageSynthesisSpec)
        network = replace(model.network, size_px=SIDE, pose_latent=4, content_latent=4)
        model = replace(model, network=replace(network, hidden=(16, 16), decoder_width=4, encoder=encoder))

    def brief(bound: BoundConfig) -> BoundConfig:
        return replace(bound, schedule=replace(bound.schedule, steps=6), batch_size=8)

    task = config.task
    task = replace(task, disentangling=brief(task.disentangling), embedding=brief(task.embedding))
    data = replace(preset.data, source=66, target=24 if preset.data.target else None, test=16)
    return replace(preset, model=model, data=data, methods={"disentangled-vae": DisentangledVAEConfig(task)})


def shrink(monkeypatch) -> None:
    """The presets ``small`` of SynthShift and ``adapt`` become smaller still, as do those of datasets."""
    presets = [shrunk(preset) if _is_small(preset) else preset for preset in table.PRESETS]
    monkeypatch.setattr(table, "PRESETS", presets)


def _is_small(preset: Preset) -> bool:
    return preset.name == "small" or ("disentangled-vae" in preset.methods and preset.name.startswith("small"))


def preset_of(family: str, method: str = "mean-teacher", name: str = "small") -> Preset:
    """A preset of the table as it stands."""
    return table.find_preset(family, name, method)


class TargetOnDisk(NamedTuple):
    """A user's images, and their labels."""

    images: Path
    truth: Path
    labels: KeypointSet  # of every readable image, our joints in our order


def write_target(folder: Path) -> TargetOnDisk:
    """Street renders inside larger, oblong images; a broken file among them.

    The truth is in another order of frames and joints, lacks a frame and a joint, and has a frame too many.
    """
    batch = Samples(STREET, 48, seed=99).samples(0, FRAMES)
    images = folder / "images"
    images.mkdir(parents=True)
    for i, image in enumerate(batch.rgb):
        canvas = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
        canvas[PLACE[1] : PLACE[1] + 48, PLACE[0] : PLACE[0] + 48] = pixels
        Image.fromarray(canvas).save(images / f"frame_{i:02d}.png")
    Image.fromarray(canvas).save(images / "frame_50.jpg")
    truncate(images / "frame_50.jpg")
    keys = np.array([f"frame_{i:02d}" for i in range(FRAMES)])
    labels = KeypointSet(keys, HAND21.joints, uv_px=batch.uv_px.numpy() + np.array(PLACE))
    frames, joints = np.arange(FRAMES)[:0:-1], np.arange(20)[::-1]
    shuffled = labels.take(frames, joints)
    extra = np.append(shuffled.key, "frame_77")
    uv_px = np.append(shuffled.uv_px, np.zeros((1, 20, 2)), axis=0)
    replace(shuffled, key=extra, uv_px=uv_px).save(folder / "truth.npz")
    return TargetOnDisk(images, folder / "truth.npz", labels)


def rendered_sets(config: SynthShiftConfig) -> SynthShiftSets:
    """The rendered sets of a cell, at the size of the presets as they stand."""
    experiment = synthshift_experiment(config, ONE_CPU)
    return render_sets(config, experiment.preset, experiment.method)
