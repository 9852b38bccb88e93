"""The published transfers between datasets, by name. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from posebridge.errors import InputError


@dataclass(frozen=True)
class Transfer:
    """A published transfer: its datasets, by name."""

    source: str | None  # None: renders
    target: str


# Lin et al., NeurIPS 2023, Tables 1 and 2; Ren et al., CVPR 2022, Table 4.
TRANSFERS: Mapping[str, Transfer] = {
    "rhd-to-h3d": Transfer("rhd", "h3d"),
    "rhd-to-mvhand": Transfer("rhd", "mvhand"),
    "surreal-to-human36m": Transfer("surreal", "human3.6m"),
    "surreal-to-3dpw": Transfer("surreal", "3dpw"),
    "renders-to-nyu": Transfer(None, "nyu"),
    "renders-to-icvl": Transfer(None, "icvl"),
    "renders-to-msra": Transfer(None, "msra"),
}


def find_transfer(name: str) -> Transfer:
    """The transfer of that name. Raises ``InputError`` for an unknown name, with all names."""
    if name not in TRANSFERS:
        raise InputError(f"there is no recipe {name!r}: choose {', '.join(TRANSFERS)}")
    return TRANSFERS[name]
