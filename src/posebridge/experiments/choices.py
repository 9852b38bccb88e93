"""What ``adapt`` chooses where the user leaves it open: the model to start from, and the method."""

from pathlib import Path

from posebridge.contracts.track import Track
from posebridge.deployment.shipped_models import as_model_ref, model_path, shipped_models
from posebridge.experiments.configs import AUTO, Source
from posebridge.experiments.target import LoadedTarget
from posebridge.methods.registry import MethodEntry, default_method, find_method


def source_path(source: Source | None, track: Track, preset: str) -> Path | None:
    """The folder of the model to start from; None: one is trained on renders.

    Without a ``source``, it is the shipped model of the track for preset small. Raises ``InputError`` as
    ``model_path``.
    """
    if source is None:
        source = as_model_ref(track) if preset == "small" and track in shipped_models() else "renders"
    return None if source == "renders" else model_path(source)


def named_method(name: str) -> MethodEntry | None:
    """The method that the user names; None where it is to be chosen. Raises ``InputError`` for an unknown name."""
    return None if name == AUTO else find_method(name)


def method_for(target: LoadedTarget) -> tuple[MethodEntry, str]:
    """The method for a target of colour images, and why."""
    if target.sequences is None:
        method, why = default_method("colour", "images"), "the frames are single images"
    else:
        method, why = default_method("colour", "pairs"), "frames of one video make pairs"
    return method, f"method {method.name} was chosen, because {why}"
