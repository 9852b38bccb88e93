"""Presets of aligned latent spaces at a size that trains in a second or two."""

from dataclasses import replace

from posebridge.deployment.model_spec import AlignedPoseSpec
from posebridge.networks.latent_coders import ImageEncoderConfig
from posebridge.networks.point_clouds import CloudCoderConfig
from posebridge.presets.aligned_latent_spaces import METHOD, config_in
from posebridge.presets.preset import DataSizes, Preset

_ENCODER = ImageEncoderConfig("test_resnet", hidden=16)


def smaller(preset: Preset, size_px: int = 32, steps: int = 6) -> Preset:
    """The preset with tiny networks and sets. Its strategy is kept."""
    assert isinstance(preset.model, AlignedPoseSpec)
    network, config = preset.model.network, config_in(preset)
    maps = network.heat_maps and replace(network.heat_maps, side=8, width=4)
    network = replace(network, size_px=size_px, latent=8, encoder=_ENCODER, pose_hidden=(16,), heat_maps=maps)
    config = replace(
        config,
        schedule=replace(config.schedule, steps=steps),
        batch_size=8,
        weak_batch_size=8,
        clouds=config.clouds and CloudCoderConfig(points=16, encoder_widths=(8, 16), hidden=8, folding_width=16),
    )
    return replace(
        preset,
        model=replace(preset.model, network=network),
        data=DataSizes(source=32, target=12, test=12),
    ).with_config(METHOD, config)
