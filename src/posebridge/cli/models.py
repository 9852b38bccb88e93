"""``posebridge models``."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from posebridge.deployment.shipped_models import ShippedModel, read_card, shipped_models


@dataclass(frozen=True)
class ModelsCommand:
    """List the models that the package brings, or print the card of one: data, training, accuracy, limits."""

    name: Annotated[Positional[ShippedModel | None], arg(metavar="MODEL")] = None
    """A model of the list."""

    def run(self) -> None:
        """Print a line for each model, or one card."""
        if self.name is not None:
            print(read_card(self.name))
            return
        for name in shipped_models():
            print(read_card(name).line())
        print("posebridge models MODEL prints the card of one; posebridge predict MODEL TARGET predicts with it")
