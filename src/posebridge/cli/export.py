"""``posebridge export``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from posebridge.deployment.shipped_models import ModelRef


@dataclass(frozen=True)
class ExportCommand:
    """Write a pose model as ONNX, for runtimes without PyTorch.

    The graph takes crops and their maps, and returns joints in pixels of the frames and in millimetres. It is compared
    with the model before it is kept. --frames writes another graph, which takes whole frames and boxes. Needs the extra
    posebridge[onnx].
    """

    model: Annotated[Positional[ModelRef], arg(metavar="MODEL")]
    """A shipped model, or the folder of a run or of a model of colour images, or its model.safetensors."""

    out: Path
    """The file to write, such as hand.onnx."""

    frames: Path | None = None
    """A second file, whose graph takes whole frames and boxes."""

    def run(self) -> None:
        """Export, and print the files and the largest difference from the model."""
        from posebridge.deployment.onnx_export import export_model

        print(export_model(self.model, self.out, self.frames))
