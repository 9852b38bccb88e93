"""Flags of commands that read depth. Free of torch until they are used."""

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from posebridge.errors import InputError

if TYPE_CHECKING:
    from posebridge.data.depth_target import DepthTargetConfig


@dataclass(frozen=True)
class DepthOptions:
    """What is known of a depth camera's files."""

    depth_unit_mm: float = 1.0
    """Of depth pictures: millimetres that one step stands for."""

    depth_encoding: Literal["16-bit", "two-bytes"] = "16-bit"
    """Of depth pictures: one channel of 16 bits, or a high byte in green and a low one in blue, as NYU has it."""

    centres: Path | None = None
    """Of depth pictures: a text file with the place of each hand, a line x y z in mm a frame. Without it: the nearest
    thing to the camera that is as large as a hand."""

    reach_m: tuple[float, float] = (0.1, 1.5)
    """Of depth: from where to where, in metres from the camera, a hand is looked for."""

    mano: Path | None = None
    """Of depth: MANO_RIGHT.pkl, or an .npz of its arrays, to find MANO's hands instead of Anny's. A model that was
    trained with it needs it ever after; nothing of it is stored."""

    def target(
        self,
        path: Path,
        intrinsics: tuple[float, float, float, float] | None,
        hand: Literal["left", "right", "annotated"] | None,
    ) -> "DepthTargetConfig":
        """Where the depth lies. Absolute, so that a run can be resumed from anywhere.

        Raises ``InputError`` for hands that a file of boxes should tell of.
        """
        from posebridge.data.depth_target import DepthTargetConfig

        if hand == "annotated":
            raise InputError("--hand annotated needs boxes, which depth doesn't take: give left or right")
        centres = self.centres and self.centres.absolute()
        what = (self.depth_unit_mm, self.depth_encoding, centres, self.reach_m)
        return DepthTargetConfig(path.absolute(), intrinsics, *what, hand or "right")

    @property
    def mano_file(self) -> Path | None:
        """The file of MANO's hand, absolute."""
        return self.mano and self.mano.absolute()

    def refuse(self, needs: str) -> None:
        """Raise ``InputError`` where a flag of depth was given to what reads colour."""
        refuse_flags(self, tuple(f.name for f in fields(self)), f"it is for depth, which {needs} reads")


def refuse_flags(command: Any, names: tuple[str, ...], why: str) -> None:
    """Raise ``InputError`` where one of the flags has another value than its default."""
    for f in fields(command):
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        if f.name in names and getattr(command, f.name) != default:
            raise InputError(f"leave --{f.name.replace('_', '-')} out: {why}")
