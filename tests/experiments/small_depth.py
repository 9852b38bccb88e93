"""Multi-view fusion at a size that trains in a second or two."""

from dataclasses import replace

from posebridge.deployment.model_spec import DepthHandSpec
from posebridge.fitting.hand_fitting import HandFittingConfig
from posebridge.methods.multi_view_fusion.config import MultiViewFusionConfig
from posebridge.networks.translation import TranslatorConfig
from posebridge.presets.preset import DataSizes, Preset
from training.hands import CUBE_M, TINY


def quick(preset: Preset) -> Preset:
    """The preset with a few sets and steps."""

    def few(config, steps: int):
        return replace(config, sets=2, schedule=replace(config.schedule, steps=steps))

    config = preset.methods["multi-view-fusion"]
    assert isinstance(config, MultiViewFusionConfig)
    networks = TranslatorConfig(channels=4, blocks=1, discriminator_channels=4, discriminator_halvings=2)
    schedule = replace(config.translation.schedule, steps=6)
    config = replace(
        config,
        translation=replace(config.translation, networks=networks, schedule=schedule),
        single_view=few(config.single_view, 3),
        fusion=few(config.fusion, 2),
        fine_tuning=replace(few(config.fine_tuning, 2), teacher_fitting=HandFittingConfig(steps=2)),
        one_camera=few(config.one_camera, 2),
    )
    sizes = DataSizes(source=12, source_with_model=12, target=12, test=9, views=3)
    if preset.family.startswith("datasets/"):
        sizes = replace(sizes, target=preset.data.target, test=preset.data.test)
    model = DepthHandSpec(network=TINY, size_px=32, cube_m=CUBE_M)
    return replace(preset, model=model, data=sizes, methods={"multi-view-fusion": config})
