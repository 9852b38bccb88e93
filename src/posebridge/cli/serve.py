"""``posebridge serve``."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from posebridge.serve.config import ServeConfig


@dataclass(frozen=True)
class ServeCommand:
    """Open a page on this machine that predicts images, videos and your camera, and adapts the model to your footage.

    Listens on 127.0.0.1 alone, and ends with ctrl-c. Needs the extra posebridge[serve].
    """

    config: Annotated[ServeConfig, arg(name="")]

    def run(self) -> None:
        """Serve until ctrl-c."""
        from posebridge.serve.server import serve

        serve(self.config)
