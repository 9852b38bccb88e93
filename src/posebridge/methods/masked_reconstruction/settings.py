"""The rows of the paper's Tables 1 to 4 and 9 as changes of one config, and the rows that we add.

A row differs from "full" in what its name says. "Source only" trains without any image of the target.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from posebridge.methods.masked_reconstruction.config import MaskedReconstructionConfig

Setting = Callable[[MaskedReconstructionConfig], MaskedReconstructionConfig]

FULL = "full"


def _full(config: MaskedReconstructionConfig) -> MaskedReconstructionConfig:
    return config


def _pretrained(**changes: Any) -> Setting:
    """With other values of the pretraining."""

    def change(config: MaskedReconstructionConfig) -> MaskedReconstructionConfig:
        assert config.pretraining is not None
        return replace(config, pretraining=replace(config.pretraining, **changes))

    return change


def _without_regularisation(config: MaskedReconstructionConfig) -> MaskedReconstructionConfig:
    return replace(config, fine_tuning=replace(config.fine_tuning, attention_weight=0.0))


def _scratch(config: MaskedReconstructionConfig) -> MaskedReconstructionConfig:
    return _without_regularisation(replace(config, pretraining=None))


def _then(*changes: Setting) -> Setting:
    def change(config: MaskedReconstructionConfig) -> MaskedReconstructionConfig:
        for one in changes:
            config = one(config)
        return config

    return change


_NO_WEIGHTS = _pretrained(beta=0.0)
_NO_COMPOSITES = _pretrained(composited_frac=0.0)
_SOURCE_ONLY = _then(_pretrained(on_target=False), _without_regularisation)
_MAE = _then(_NO_WEIGHTS, _NO_COMPOSITES, _without_regularisation)

SETTINGS: Mapping[str, Setting] = {
    FULL: _full,
    # Tables 1 and 2. "scratch" is the same with and without the target.
    "scratch": _scratch,
    "source-mae": _then(_MAE, _SOURCE_ONLY),
    "source-without-unconstrained": _then(_NO_COMPOSITES, _SOURCE_ONLY),
    "source-full": _SOURCE_ONLY,
    "mae": _MAE,
    "without-unconstrained": _NO_COMPOSITES,
    # Table 3. Without both terms it is a masked autoencoder on images before exchanged backgrounds.
    "without-fcr-and-ar": _then(_NO_WEIGHTS, _without_regularisation),
    "without-fcr": _NO_WEIGHTS,
    "without-ar": _without_regularisation,
    # Table 4. Without both masks it is "without-fcr".
    "without-target-mask": _pretrained(target_mask=False),
    # Table 9, and the weights of an image divided by their mean, which changes the row without the target's mask.
    "mask-ratio-0.5": _pretrained(mask_ratio=0.5),
    "mask-ratio-0.95": _pretrained(mask_ratio=0.95),
    "beta-2": _pretrained(beta=2.0),
    "beta-8": _pretrained(beta=8.0),
    "normalised-weights": _pretrained(normalise_weights=True),
    "normalised-weights-without-target-mask": _pretrained(normalise_weights=True, target_mask=False),
    "normalised-patches": _pretrained(normalise_patches=True),
}
