"""What a ``TrainConfig`` leaves open: the datasets and the method of its recipe, the subject. Imports no torch."""

from collections.abc import Mapping
from dataclasses import replace

from posebridge.data.datasets.dataset import Subject
from posebridge.data.datasets.dataset_ref import DatasetRef
from posebridge.data.datasets.registry import DATASETS, dataset_named
from posebridge.errors import InputError
from posebridge.experiments.configs import TrainConfig
from posebridge.experiments.transfers import find_transfer
from posebridge.methods.registry import MethodEntry, Sensor, find_method

_METHOD_OF: Mapping[Sensor, str] = {"colour": "geometric-reconstruction", "depth": "multi-view-fusion"}


def resolve(config: TrainConfig) -> TrainConfig:
    """The config with the datasets and the method that its recipe names, and with the default method.

    Raises ``InputError`` for an unknown recipe, for other datasets than its own, and for a dataset without name.
    """
    transfer = None if config.recipe is None else find_transfer(config.recipe)
    target = _named(config.target, "--target", config.recipe, transfer and transfer.target)
    source = config.source
    if transfer is not None and transfer.source is None and source is not None:
        raise InputError(f"{config.recipe} trains on renders: leave --source out")
    if transfer is not None and transfer.source is not None and source is None:
        raise InputError(f"{config.recipe} needs --source, the folder of {dataset_named(transfer.source).title}")
    if source is not None:
        source = _named(source, "--source", config.recipe, transfer and transfer.source)
    method = config.method or (transfer.method if transfer else _METHOD_OF[dataset_named(target.name).sensor])
    return replace(config, target=target, source=source, method=method)


def _named(ref: DatasetRef, flag: str, recipe: str | None, of_recipe: str | None) -> DatasetRef:
    """The dataset with its name, which is the recipe's where none is given."""
    if of_recipe is None:
        if not ref.name:
            names = ", ".join(DATASETS)
            raise InputError(f"{flag} {ref.path} has no dataset's name: give {flag} NAME=PATH with one of {names}")
        dataset_named(ref.name)
        return ref
    if ref.name not in ("", of_recipe):
        raise InputError(f"{recipe} has {flag} {of_recipe}, not {ref.name}: give its folder, or leave {recipe} out")
    return replace(ref, name=of_recipe)


def method_of(config: TrainConfig) -> MethodEntry:
    """The method of a resolved config. Raises ``InputError`` for an unknown one."""
    if config.method is None:
        raise ValueError("resolve the config first")
    return find_method(config.method)


def subject_shown(config: TrainConfig) -> Subject:
    """What the datasets of a resolved config show. A user's own set shows what the other one does, else hands."""
    target = dataset_named(config.target.name).subject
    source = None if config.source is None else dataset_named(config.source.name).subject
    return target or source or "hand"
