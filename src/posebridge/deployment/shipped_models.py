"""The models that the package brings. A name stands wherever the path of a model may stand. Free of torch."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

from posebridge.contracts.plain import from_plain
from posebridge.deployment.description import DESCRIPTION, WEIGHTS
from posebridge.errors import InputError
from posebridge.regular_files import read_file
from posebridge.text_files import parse_json

ShippedModel = Literal["hand-rgb", "body-rgb", "hand-depth"]
ModelRef = ShippedModel | Path
"""A shipped model by its name, or a path: the folder of a run or of a model, or its model.safetensors."""

CARD = "card.json"


@dataclass(frozen=True)
class Accuracy:
    """A row of a card: the accuracy on one set of frames."""

    frames: str
    count: int
    numbers: dict[str, float]  # by name and unit, the decisive one first; shares are in [0, 1]


@dataclass(frozen=True)
class ModelCard:
    """What ``card.json`` records of a shipped model."""

    name: str
    joints: str
    data: str
    recipe: tuple[str, ...]  # commands
    image_steps: int
    hours: float
    hardware: str
    accuracy: tuple[Accuracy, ...]
    limits: tuple[str, ...]
    licence: str

    def line(self) -> str:
        """The card in one line: name, joints, and the first row of accuracy."""
        first = self.accuracy[0]
        name, value = next(iter(first.numbers.items()))
        return f"{self.name}: {self.joints}; {name} {value:.3f} on {first.frames}"

    def __str__(self) -> str:
        names = list(dict.fromkeys(name for row in self.accuracy for name in row.numbers))
        lines = [
            f"{self.name}: {self.joints}",
            f"  trained on  {self.data}",
            f"  training    {self.image_steps / 1e6:.2f} million images in {self.hours:.1f} hours, {self.hardware}",
            *(f"  recipe      {command}" for command in self.recipe),
            f"  licence     {self.licence}",
            *(f"  limit       {limit}" for limit in self.limits),
            f"  {'accuracy':<44} {'frames':>6}" + "".join(f"  {name}" for name in names),
        ]
        for row in self.accuracy:
            numbers = "".join(f"  {_number(row.numbers.get(name)):>{len(name)}}" for name in names)
            lines.append(f"  {row.frames:<44} {row.count:>6}{numbers}")
        return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value <= 1 else f"{value:.1f}"


def shipped_models() -> tuple[ShippedModel, ...]:
    """All names."""
    return get_args(ShippedModel)


def as_model_ref(text: str | Path) -> ModelRef:
    """A name where the text is one, else a path. ``./hand-rgb`` is a path, given as text."""
    return next((name for name in shipped_models() if name == text), Path(text))


def model_path(model: ModelRef) -> Path:
    """The folder of a shipped model, or the path itself.

    Raises ``InputError`` where the installed package lacks the model, and for a name that is also the folder of a
    model in the current directory.
    """
    if isinstance(model, Path):
        return model
    if (Path(model) / DESCRIPTION).exists():
        raise InputError(f"{model} is a shipped model and a folder here: write ./{model} for the folder, or rename it")
    folder = Path(str(files("posebridge").joinpath("models", model)))
    for name in (WEIGHTS, DESCRIPTION, CARD):
        if not (folder / name).is_file():
            raise InputError(f"the installed package lacks {name} of model {model}: install posebridge again")
    return folder


def read_card(model: ShippedModel) -> ModelCard:
    """The card of a shipped model. Raises ``InputError`` where it is missing or damaged."""
    file = model_path(model) / CARD
    try:
        return from_plain(ModelCard, parse_json(read_file(file)))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file} is damaged ({error}): install posebridge again") from error
