"""What a ``TrainConfig`` leaves open: the recipe's datasets, the method, the subject, the joints. Imports no torch."""

from collections.abc import Mapping
from dataclasses import fields, replace

from posebridge.data.datasets.dataset import Subject
from posebridge.data.datasets.dataset_ref import DatasetRef
from posebridge.data.datasets.options import Split
from posebridge.data.datasets.registry import DATASETS, dataset_named
from posebridge.errors import InputError
from posebridge.experiments.configs import TargetSplit, TrainConfig
from posebridge.experiments.transfers import find_transfer
from posebridge.methods.registry import MethodEntry, default_method, find_method

PUBLISHED_JOINTS = ("hand21", "mpii16")  # skeletons of the published tables
SPLITS_OF: Mapping[TargetSplit, tuple[Split, ...]] = {
    "train": ("train",),
    "test": ("test",),
    "both": ("train", "test"),
}
_RENDERED_BODY = "h36m17"
_OF_DEPTH = ("mano", "translate", "stacks")
_OF_COLOUR = ("encoder_weights", "feature_weights", "joints", "unconstrained")


def resolve(config: TrainConfig) -> TrainConfig:
    """The config with the datasets that its recipe names, and with the default method.

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
    sensor = dataset_named(target.name).sensor
    of_recipe = None if transfer is None else transfer.method
    method = config.method or of_recipe or default_method(sensor, "views" if sensor == "depth" else "pairs").name
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
    """What the datasets of a resolved config show.

    A user's own set shows what the other one does. Of two, ``joints`` decides: those of a body, else hands.
    """
    target = dataset_named(config.target.name).subject
    source = None if config.source is None else dataset_named(config.source.name).subject
    return target or source or ("hand" if config.joints is None else "body")


def joints_of(config: TrainConfig) -> str:
    """The skeleton of a resolved config: the given one, else the one that the source labels."""
    if config.joints is not None:
        return config.joints
    if subject_shown(config) == "hand":
        return "hand21"
    return _RENDERED_BODY if config.source is None else dataset_named(config.source.name).body_joints


def source_title(config: TrainConfig) -> str:
    """The name of the source of a resolved config, in titles and tables."""
    return f"{config.domain} renders" if config.source is None else dataset_named(config.source.name).title


def check_fit(config: TrainConfig) -> None:
    """Raise ``InputError`` where method, source, target and flags of a resolved config don't go together."""
    method, target = method_of(config), dataset_named(config.target.name)
    if config.target_split not in SPLITS_OF:
        raise InputError(f"there is no target split {config.target_split!r}: choose {', '.join(SPLITS_OF)}")
    method.check_sensor(target.sensor, f"dataset {target.name}")
    if config.source is not None:
        _refuse_unused(config, ("domain", "mano"), "the source is a dataset, so nothing is rendered")
        _check_source(config, config.source)
    elif subject_shown(config) == "body" and joints_of(config) != _RENDERED_BODY:
        raise InputError(f"renders of bodies have the joints of {_RENDERED_BODY}: leave --joints out")
    if subject_shown(config) == "hand":
        _refuse_unused(config, ("joints",), f"{target.name} shows hands, whose joints are hand21")
    if target.sensor == "depth":
        _refuse_unused(config, _OF_COLOUR, f"{target.name} is depth")
    else:
        _refuse_unused(config, _OF_DEPTH, f"{target.name} is colour")
    if method.target == "pairs" and not target.sequences:
        raise InputError(f"method {method.name} takes {method.needs}, and {target.name} has no videos")
    if method.role == "supervised_target" and config.target_split != "train":
        raise InputError(f"method {method.name} trains on labels of the training split: leave --target-split out")
    if config.target.options.whole_set:
        _check_whole_set(config, method)
    target.check_labelled(config.target.options)  # the test split is scored


def _check_whole_set(config: TrainConfig, method: MethodEntry) -> None:
    if config.source is not None and config.source.path.resolve() == config.target.path.resolve():
        raise InputError("the source would contain the scored frames: leave whole_set out, or give another source")
    if config.target_split == "both":
        raise InputError("whole_set makes both splits the same frames: leave --target-split out")
    if method.role == "supervised_target":
        raise InputError(f"method {method.name} would train on the scored frames: leave whole_set out")


def _check_source(config: TrainConfig, ref: DatasetRef) -> None:
    source, target = dataset_named(ref.name), dataset_named(config.target.name)
    source.check_labelled(ref.options)
    if source.sensor != target.sensor:
        raise InputError(
            f"{source.name} is {source.sensor}, and {target.name} is {target.sensor}: choose two of a kind"
        )
    if source.subject not in (subject_shown(config), None):
        raise InputError(f"{source.name} and {target.name} show a hand and a body: choose two of a kind")
    if not source.joints_3d:
        raise InputError(
            f"{source.name} has labels in 2D alone, and networks predict depth as well: choose a source with 3D labels"
        )
    method_of(config).check_source(source.name, source.labels)


def _refuse_unused(config: TrainConfig, names: tuple[str, ...], reason: str) -> None:
    """Raise ``InputError`` where one of these fields has another value than its default."""
    for field in fields(config):
        if field.name in names and getattr(config, field.name) != field.default:
            raise InputError(f"leave --{field.name.replace('_', '-')} out: {reason}")
