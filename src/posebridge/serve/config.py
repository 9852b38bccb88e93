"""The config of ``posebridge serve``. Imports no torch, so that the command's help appears at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from posebridge.data.target_config import DetectorChoice
from posebridge.deployment.predict_config import check_min_confidence
from posebridge.deployment.shipped_models import ModelRef
from posebridge.errors import InputError

_LAST_PORT = 65535


@dataclass(frozen=True)
class ServeConfig:
    """A page on this machine that predicts with a model of colour images, and adapts it."""

    model: Annotated[Positional[ModelRef], arg(metavar="MODEL")] = "hand-rgb"
    """A shipped model (posebridge models), the folder of a run or of a model, its model.safetensors, or an ONNX
    file that export wrote: of colour images."""

    port: int = 8765
    """Port on 127.0.0.1. 0 takes a free one."""

    open: bool = False
    """Open the page in a browser."""

    runs: Path | None = None
    """Folder that keeps adaptations and the files uploaded for them. Without it: a temporary one, which the end of the
    server removes."""

    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, ..."""

    detector: DetectorChoice = "auto"
    """What finds the subjects of pictures. auto: a model that states the least confidence of a subject, as hand-rgb
    does, searches the picture itself. none: the whole picture is the crop, as it also is for other models. Or the
    folder of a detector (posebridge train-detector). A box drawn on the page takes its place."""

    padding: float = 1.0
    """Side of the square crop over the larger side of the box."""

    min_confidence: float | None = None
    """Poses whose mean confidence is lower count as no hand or person in the frame; 0 shows every pose. Without it: as
    the model states, or 0."""

    max_upload_mb: int = 500
    """Largest file that the page may upload; all files of one adaptation together may have four times as much."""

    max_upload_s: int = 300
    """Longest time that one upload may take, in seconds."""

    max_video_frames: int = 20_000
    """Longest video, in frames."""

    @property
    def model_name(self) -> str:
        """The model's name on the page."""
        return self.model.absolute().name if isinstance(self.model, Path) else self.model

    def __post_init__(self):
        """Raises ``InputError`` for numbers out of range."""
        if not 0 <= self.port <= _LAST_PORT:
            raise InputError(f"port {self.port} is impossible: give 0 to {_LAST_PORT}")
        if not 0 < self.padding < float("inf"):
            raise InputError(f"padding {self.padding:g} is impossible: give a factor above 0, such as 1.2")
        check_min_confidence(self.min_confidence)
        for name in ("max_upload_mb", "max_upload_s", "max_video_frames"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)} is impossible: give 1 or more")
