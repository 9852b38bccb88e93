"""A trained model that the user gives as the start of a run."""

from collections.abc import Collection
from pathlib import Path

from posebridge.deployment.model_file import LoadedModel, load_model
from posebridge.deployment.model_kinds import kind_of_spec
from posebridge.deployment.model_spec import ModelSpec, hand_name
from posebridge.errors import InputError


def load_source_model(
    path: Path,
    wanted: ModelSpec,
    mano: Path | None = None,
    skeletons: Collection[str] = (),
    own_models: Collection[ModelSpec] = (),
) -> LoadedModel:
    """The model of a file or of a run's folder.

    ``wanted`` is what the run would train instead; ``skeletons`` are taken besides its own, and models of the same kind
    as ``own_models``, which methods train. Raises ``InputError`` for a model of another kind, other joints, another
    sensor or cube, or another hand.
    """
    model = load_model(path, *(kind_of_spec(spec) for spec in (wanted, *own_models)))
    spec, hand = model.spec, hand_name(mano)
    if spec.skeleton not in (wanted.skeleton, *skeletons):
        raise InputError(
            f"{path} predicts {spec.skeleton}, and this run needs {wanted.skeleton}: give a model of these joints"
        )
    if wanted.cube_m is None and spec.cube_m is not None:
        raise InputError(f"{path} takes depth, and this run trains on colour: give a model of colour images")
    if spec.hand not in (None, hand):
        raise InputError(f"{path} predicts hands of {spec.hand}, and this run's are those of {hand}")
    if wanted.cube_m is not None and spec.cube_m is not None and spec.cube_m != wanted.cube_m:
        cubes = f"cubes of {1000 * spec.cube_m:g} mm, and renders come in {1000 * wanted.cube_m:g}"
        raise InputError(f"{path} reads {cubes}: give a model that was trained on them")
    return model
