"""The splits of every reader, and the options of single datasets. Imports neither numpy nor torch."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

# "train": frames for training, with labels as a source, without as a target.
# "test": frames that are scored. Each reader maps the two to its release's folders or files in one place.
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")

# What makes images one sequence: their folder, or the name before their number.
SequenceBy = Literal["folder", "name"]
BoxOrientation = Literal["upright", "stored"]
# Pixels of depth images: one channel of 16 bits, or NYU's, with the high byte in green and the low one in blue.
Encoding = Literal["16-bit", "two-bytes"]
StereoCamera = Literal["SK_color", "BB_left", "BB_right"]
Hands = Literal["single", "interacting", "all"]
Objects = Literal["noobject", "object", "all"]
GANeratedPart = Literal["noObject", "withObject", "all"]
PanopticPart = Literal["studio", "manual", "synth1", "synth2", "synth3", "synth4"]
Human36MProtocol = Literal["protocol1", "s11"]
CentreChoice = Literal["blob", "labels", "none"]
LSPVariant = Literal["lsp", "lspet"]


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """Options of single datasets. None leaves the reader's default; a dataset refuses options that it doesn't have."""

    every: int | None = None  # surreal, human3.6m, 3dpw, mpi-inf-3dhp: read each n-th frame only
    clips: int | None = None  # surreal: read at most that many clips, evenly chosen
    views: tuple[int, ...] | None = None  # mvhand 0 to 3, nyu 1 to 3, human3.6m 0 to 3, mpi-inf-3dhp 0 to 13
    camera: StereoCamera | None = None  # stb
    # h3d, msra, bighand2.2m, labels-npz: the hand that all images show; coco-keypoints: where it is not annotated
    hand: Literal["left", "right"] | None = None
    part: GANeratedPart | PanopticPart | None = None  # ganerated, panoptic-hands
    hands: Hands | None = None  # interhand2.6m: images of one hand, of two, or both
    objects: Objects | None = None  # h3d: hands alone, with an object, or both
    variant: LSPVariant | None = None  # lsp: the set or its extended training set
    protocol: Human36MProtocol | None = None  # human3.6m: which subjects train and test
    test_subject: int | None = None  # msra: the subject, 0 to 8, that is the split "test"
    benchmark_split: bool | None = None  # freihand: the split of RegDA and its successors instead of the release's
    # lsp, coco-keypoints, labels-npz, rendered, rendered-depth: both splits are all frames
    whole_set: bool | None = None
    rotated: bool | None = None  # icvl: with the training pictures that the release has rotated
    detected_only: bool | None = None  # 3dpw: leave out people that the release's detector missed
    centres: CentreChoice | Path | None = (
        None  # nyu, icvl, msra, bighand2.2m: "blob", "labels", or a folder of train.txt and test.txt
    )
    masks: bool | None = None  # rhd, freihand, surreal: read the masks
    depth: bool | None = None  # rhd, mvhand, surreal: read the depth
    vertices: bool | None = None  # freihand: read the vertices of the meshes
    box_padding: float | None = None  # lsp: boxes of that many times the extent of the joints, instead of whole images
    annotations: Path | None = None  # mpii, bighand2.2m: the annotation file, where it isn't in its usual place
    regressor: Path | None = None  # youtube-3d-hands: MANO's J_regressor as .npy, without which no joint is labelled
    joint_order: str | None = None  # coco-keypoints: a name in skeletons.orders, where the file names joints wrongly

    def given(self) -> dict[str, Any]:
        """The options that are not None, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
