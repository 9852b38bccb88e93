"""The configs of predictions on files. Imports no torch: commands make their flags of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from posebridge.contracts.track import BodyJoints
from posebridge.data.target_config import DepthTargetConfig, TargetConfig
from posebridge.deployment.shipped_models import ModelRef
from posebridge.distribute import Workers
from posebridge.errors import InputError

MeshFormat = Literal["npz", "ply", "none"]
HandJoints = Literal["hand21", "nyu14", "icvl16"]  # MSRA's and BigHand2.2M's are ``hand21``
ExportFormat = Literal["coco", "csv", "glb"]


@dataclass(frozen=True)
class PredictConfig:
    """Predictions on colour images."""

    model: Annotated[Positional[ModelRef], arg(metavar="MODEL")]
    """A shipped model (posebridge models), the folder of a run or of a model, its model.safetensors, or an ONNX file of
    posebridge export. ONNX Runtime predicts with the last one on the CPU, without PyTorch."""

    target: Annotated[TargetConfig, arg(name="")]

    out: Path = Path("predictions")
    """Folder for the predictions; earlier predictions in it are replaced."""

    overlays: int | None = None
    """Number of frames drawn at most, of each video where the input is videos; 0 draws none. Without it: all."""

    batch_size: int = 16
    """Frames that go through the network together; one by one where a detector follows videos."""

    joints: BodyJoints | None = None
    """Of people: the joints that are written, in the order of that skeleton, such as coco17 or h36m17. Without it: all
    that the model predicts."""

    min_confidence: float | None = None
    """Mean confidence of the joints, below which a frame shows no subject: it is listed in skipped.json and not
    drawn. Without it: as the model states, or 0. 0 keeps every crop; with --detector none, every frame."""

    smooth: bool = False
    """Of videos that a detector follows: smooth the joints of each subject over time (One Euro filter)."""

    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, ...; with workers or Ray, auto is the CPU."""

    workers: Annotated[Workers, arg(name="")] = field(default_factory=Workers)

    formats: tuple[ExportFormat, ...] = ()
    """Formats beside predictions.npz: coco (coco_annotations.json, coco_results.json), csv (predictions.csv, a row for
    each frame and joint), glb (skeletons over time, as glTF). Without it: none."""

    def __post_init__(self):
        _check_overlays(self.overlays)
        check_cropping(self.target.padding, self.target.every, self.batch_size)
        check_min_confidence(self.min_confidence)


@dataclass(frozen=True)
class PredictDepthConfig:
    """Predictions on depth."""

    model: Annotated[Positional[ModelRef], arg(metavar="MODEL")]
    """A shipped model (posebridge models), the folder of a run or of a model, or its model.safetensors."""

    target: Annotated[DepthTargetConfig, arg(name="")]

    out: Path = Path("predictions")
    """Folder for the predictions; earlier predictions in it are replaced."""

    meshes: MeshFormat = "npz"
    """npz writes meshes.npz; ply writes meshes/KEY.ply for each frame, for any 3D viewer."""

    follow: bool = False
    """The frames are a stream of one camera: search the hand where it was in the frame before."""

    overlays: int | None = None
    """Number of frames drawn at most; 0 draws none. Without it: all."""

    batch_size: int = 16
    """Frames that go through the network together; calibrated views of one moment stay together."""

    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, ..."""

    mano: Path | None = None
    """MANO_RIGHT.pkl, or an .npz of its arrays, for a model of MANO's hand."""

    view_3d: bool = False
    """Also write hands.rrd: measured depth, meshes and joints over time, for the Rerun viewer (rerun hands.rrd). Needs
    the extra posebridge[view]."""

    fit_steps: int = 0
    """Fit each hand to the depth of all views of its moment by this many steps. 40 steps reduce the error, and take
    half a second a frame on two CPU cores. 0: hands as predicted."""

    joints: HandJoints = "hand21"
    """Joints of the mesh that are written: those of the network, of NYU, or of ICVL."""

    formats: tuple[ExportFormat, ...] = ()
    """Formats beside predictions.npz: coco (coco_annotations.json, coco_results.json), csv (predictions.csv, a row for
    each frame and joint), glb (skeletons and meshes over time, as glTF). Without it: none."""

    def __post_init__(self):
        _check_overlays(self.overlays)
        if self.batch_size < 1:
            raise InputError(f"batch size {self.batch_size} is impossible: give 1 or more")


def _check_overlays(overlays: int | None) -> None:
    if overlays is not None and overlays < 0:
        raise InputError(f"{overlays} overlays are impossible: give 0 for none, or more")


def check_min_confidence(min_confidence: float | None) -> None:
    """Raise ``InputError`` for a confidence outside 0 to 1."""
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise InputError(f"min-confidence {min_confidence:g} is impossible: give 0 to 1")


def check_cropping(padding: float, every: int, batch_size: int) -> None:
    """Raise ``InputError`` for impossible values of what crops and batches are made by."""
    if batch_size < 1:
        raise InputError(f"batch size {batch_size} is impossible: give 1 or more")
    if not 0 < padding < float("inf"):
        raise InputError(f"padding {padding:g} is impossible: give a factor above 0, such as 1.2")
    if every < 1:
        raise InputError(f"cannot keep every {every}th frame: give 1 or more")
