"""Settings of Fig. 4.9 as changes of one config: which labels the samples beyond the first ones keep."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from posebridge.methods.disentangled_vae.config import DisentangledVAEConfig, EstimationConfig, Unlabelled

Setting = Callable[[DisentangledVAEConfig, int], DisentangledVAEConfig]


def _keeping(unlabelled: Unlabelled) -> Setting:
    def change(config: DisentangledVAEConfig, labelled: int) -> DisentangledVAEConfig:
        if not isinstance(config.task, EstimationConfig):
            raise ValueError("these settings are those of pose estimation")
        return replace(config, task=replace(config.task, labelled=labelled, unlabelled=unlabelled))

    return change


SETTINGS: Mapping[str, Setting] = {
    "supervised": _keeping("none"),
    "semi-supervised": _keeping("poses"),
    "weakly-supervised": _keeping("viewpoints"),
}
