"""A trained model on disk: ``model.safetensors`` with ``model.json`` beside it. Loading runs nothing from either."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from posebridge.contracts.files import write_atomically
from posebridge.errors import InputError
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig
from posebridge.networks.weights import load_weights, save_weights
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.body import BODIES
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton

FORMAT = 1
ConfigT = TypeVar("ConfigT")
SKELETONS = {HAND21.name: HAND21, **BODIES}


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to rebuild a pose network and to read its maps."""

    network: PoseResNetConfig
    maps: PoseMaps = field(default_factory=PoseMaps)
    skeleton: str = HAND21.name
    size_px: int = 256  # side of the square crop that the network sees
    reference_length_m: float | None = None  # mean length of the reference bone in the source, for poses in metres
    method: str = "source_only"


def skeleton_of(spec: ModelSpec) -> Skeleton:
    """The skeleton by its name. Raises ``InputError`` for one that this version doesn't know."""
    if spec.skeleton not in SKELETONS:
        raise InputError(f"unknown skeleton {spec.skeleton!r}: this version knows {', '.join(SKELETONS)}")
    return SKELETONS[spec.skeleton]


def save_model(folder: Path, spec: ModelSpec, network: PoseResNet) -> None:
    """Write both files. Weights that the encoder was started from are part of the file and not named."""
    offline = dataclasses.replace(spec, network=dataclasses.replace(spec.network, pretrained="none"))
    save_weights(network, folder / "model.safetensors")
    content = {"format": FORMAT, **dataclasses.asdict(offline)}
    write_atomically(folder / "model.json", json.dumps(content, indent=1).encode())


def load_model(path: Path) -> tuple[ModelSpec, PoseResNet]:
    """The model of a run's folder, or of a ``model.safetensors`` or ``model.json``; in evaluation mode.

    Raises ``InputError`` for missing or broken files and for weights of another network.
    """
    folder = _model_folder(path)
    described = folder / "model.json"
    try:
        content = json.loads(described.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise InputError(f"{described} was written by another version of posebridge (format {FORMAT} is known)")
        # Weights come from the file beside it; nothing is fetched because a description says so.
        content["network"] = _typed(PoseResNetConfig, content["network"] | {"pretrained": "none"})
        content["maps"] = _typed(PoseMaps, content["maps"])
        spec = _typed(ModelSpec, content)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{described} doesn't describe a model ({error}): train it again or restore it") from error
    if spec.network.joints != len(skeleton_of(spec)):
        raise InputError(f"{described}: {spec.network.joints} joints don't go with skeleton {spec.skeleton}")
    network = PoseResNet(spec.network)
    load_weights(network, folder / "model.safetensors")
    return spec, network.eval()


def _model_folder(path: Path) -> Path:
    """Where ``model.json`` lies. Raises ``InputError`` where there is none, and for another file than a model's."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give a finished run or the folder of a model")
    if path.is_file() and path.name not in ("model.safetensors", "model.json"):
        raise InputError(f"{path} is no model: give a finished run, its model.safetensors, or the folder of a model")
    folder = path if path.is_dir() else path.parent
    if not (folder / "model.json").is_file():
        raise InputError(f"{folder} holds no model.json: give a finished run or the folder of a model")
    return folder


def _typed(kind: type[ConfigT], content: dict[str, Any]) -> ConfigT:
    """A config from JSON. Raises ``TypeError`` for a value of another type than its field's."""
    config = kind(**content)
    for name, hint in get_type_hints(kind).items():
        value = getattr(config, name)
        allowed = get_args(hint) if get_origin(hint) in (Literal, UnionType) else (hint,)
        fits = value in allowed if get_origin(hint) is Literal else _is_one_of(value, allowed)
        if not fits:
            raise TypeError(f"{name} is {value!r}")
    return config


def _is_one_of(value: object, kinds: tuple[type, ...]) -> bool:
    """Like ``isinstance``, but a bool is no number and a whole number is a float."""
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))
