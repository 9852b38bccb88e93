"""``posebridge render``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from posebridge.data.render_config import RenderConfig
from posebridge.distribute import Workers


@dataclass(frozen=True)
class RenderCommand:
    """Render a labelled set into webdataset shards: images, depth, masks, joints, cameras, poses.

    The same command resumes a set that was stopped, repairs one that was damaged, and adds to one (with a larger
    --count). The same command always writes the same bytes, for any number of workers.
    """

    config: Annotated[RenderConfig, arg(name="")]

    out: Path
    """Folder of the set."""

    workers: Annotated[Workers, arg(name="")] = field(default_factory=Workers)

    def run(self) -> None:
        """Render, and print what lies in the folder."""
        from posebridge.contracts.plain import with_absolute_paths
        from posebridge.data.rendered_set import render_set

        print(render_set(with_absolute_paths(self.config), self.out, self.workers))
