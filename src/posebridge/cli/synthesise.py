"""``posebridge synthesise``."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from posebridge.deployment.synthesise_config import SynthesiseConfig


@dataclass(frozen=True)
class SynthesiseCommand:
    """Synthesise images by pose and content with a model of image synthesis.

    A walk moves along poses with the content fixed, or the reverse. A transfer shows every input's pose in every
    input's content. A page has a slider for each.
    """

    config: Annotated[SynthesiseConfig, arg(name="")]

    def run(self) -> None:
        """Synthesise, and print what was written."""
        from posebridge.deployment.synthesise import synthesise

        print(synthesise(self.config))
