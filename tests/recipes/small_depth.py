"""Multi-view fusion at a size that trains in a second or two."""

from dataclasses import replace

from posebridge.fitting.hand_fitting import HandFittingConfig
from posebridge.networks.translation import TranslatorConfig
from posebridge.recipes.depth_fusion import DepthFusionSize
from training.hands import TINY


def quick(size: DepthFusionSize) -> DepthFusionSize:
    def few(config, steps: int):
        return replace(config, sets=2, schedule=replace(config.schedule, steps=steps))

    method = size.method
    tuning = replace(few(method.fine_tuning, 2), teacher=HandFittingConfig(steps=2))
    method = replace(method, single=few(method.single, 3), fusion=few(method.fusion, 2), fine_tuning=tuning)
    one_camera = few(size.one_camera, 2)
    networks = TranslatorConfig(channels=4, blocks=1, discriminator_channels=4, discriminator_halvings=2)
    translation = replace(size.translation, networks=networks, schedule=replace(size.translation.schedule, steps=6))
    return replace(
        size,
        size_px=32,
        source_sets=4,
        target_sets=4,
        test_sets=3,
        network=TINY,
        method=method,
        one_camera=one_camera,
        translation=translation,
    )
