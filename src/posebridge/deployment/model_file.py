"""A trained model on disk: ``model.safetensors`` with ``model.json`` beside it. Loading runs nothing from either."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import torch
from torch import nn

from posebridge.deployment.description import DESCRIPTION, WEIGHTS, read_description, typed_config, write_description
from posebridge.deployment.model_kinds import MODEL_KINDS, ModelKind, kind_of_spec
from posebridge.deployment.model_spec import DetectorSpec, ModelSpec
from posebridge.deployment.predictor import Predictor
from posebridge.errors import InputError, first_line
from posebridge.networks.weights import load_weights, save_weights

SpecT = TypeVar("SpecT", bound=ModelSpec | DetectorSpec)
NetworkT = TypeVar("NetworkT", bound=nn.Module)


@dataclass(frozen=True)
class LoadedModel(Generic[SpecT, NetworkT]):
    """A model as it was saved, its network in evaluation mode on the CPU."""

    kind: ModelKind[SpecT, NetworkT]
    spec: SpecT
    network: NetworkT

    def predictor(self, device: torch.device | str = "cpu", mano: Path | None = None) -> Predictor:
        """The predictor of this kind. ``mano``: MANO's file, for a model of MANO's hand.

        Raises ``InputError`` where the model's hand needs a file that isn't given, or takes none.
        """
        return self.kind.predictor(self.spec, self.network.to(device), mano)


def save_model(folder: Path, spec: ModelSpec | DetectorSpec, network: nn.Module, half: bool = False) -> None:
    """Write both files. The weights that an encoder started from are part of the file and not named in it.

    ``half`` stores weights with 16 bits, which are read as 32.
    Raises ``InputError`` where the folder or the disk refuses.
    """
    save_weights(network, folder / WEIGHTS, half)
    write_description(folder, kind_of_spec(spec).name, spec)


@overload
def load_model(path: Path) -> LoadedModel[Any, Any]: ...
@overload
def load_model(path: Path, *kinds: ModelKind[SpecT, NetworkT]) -> LoadedModel[SpecT, NetworkT]: ...
def load_model(path: Path, *kinds: ModelKind[Any, Any]) -> LoadedModel[Any, Any]:
    """The model of a run's folder, or of a ``model.safetensors`` or ``model.json``; of any kind without ``kinds``.

    Raises ``InputError`` for missing or broken files, for a model of another kind or version, and for weights of
    another network.
    """
    described = read_description(path)
    found = _kind(described.folder / DESCRIPTION, described.kind)
    if kinds and found not in kinds:
        needed = " or ".join(kind.name for kind in kinds)
        raise InputError(
            f"{described.folder / DESCRIPTION} describes a model of kind {found.name}, "
            f"and one of kind {needed} is needed here; use it with posebridge {found.command}"
        )
    try:
        spec = typed_config(found.spec, described.content)
        network = found.build(spec)
    except InputError as error:
        raise InputError(f"{described.folder / DESCRIPTION}: {error}") from error
    except (RuntimeError, ValueError, ArithmeticError, LookupError) as error:  # of torch and timm, for odd sizes
        reason = first_line(error)
        raise InputError(f"{described.folder / DESCRIPTION}: its network can't be built: {reason}") from error
    load_weights(network, described.folder / WEIGHTS)
    return LoadedModel(found, spec, network.eval())


def kind_of_model(path: Path) -> ModelKind[Any, Any]:
    """The kind that a model's description names. Raises ``InputError`` as ``load_model`` does; reads no weights."""
    described = read_description(path)
    return _kind(described.folder / DESCRIPTION, described.kind)


def _kind(described: Path, name: str) -> ModelKind[Any, Any]:
    if name not in MODEL_KINDS:
        raise InputError(f"{described}: unknown kind of model {name!r}; this version has {', '.join(MODEL_KINDS)}")
    return MODEL_KINDS[name]
