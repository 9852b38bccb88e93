"""The published transfers between datasets, by name. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from posebridge.errors import InputError


@dataclass(frozen=True)
class Transfer:
    """A published transfer: its datasets, by name."""

    source: str | None  # None: renders
    target: str
    method: str | None = None  # which is the default; None: the one that fits the target


_MASKED, _SEMIHAND, _DUAL, _ALIGNED = "masked-reconstruction", "semihand", "dual-modality", "aligned-latent-spaces"
# Lin et al., NeurIPS 2023, Tables 1 and 2; Park et al., 2025, Tables 1 and 2; Yang's dissertation, 2022, Sec. 6.4 and
# Table 7.1, which have RHD to H3D, too, and chapters 4 and 5, from the training split of a dataset to its test split;
# Ren et al., CVPR 2022, Table 4.
TRANSFERS: Mapping[str, Transfer] = {
    "rhd-to-h3d": Transfer("rhd", "h3d"),
    "rhd-to-mvhand": Transfer("rhd", "mvhand"),
    "rhd-to-stb": Transfer("rhd", "stb", _SEMIHAND),
    "rhd-to-youtube-3d-hands": Transfer("rhd", "youtube-3d-hands", _SEMIHAND),
    "rhd-to-dexter-object": Transfer("rhd", "dexter-object", _SEMIHAND),
    "rhd-to-freihand": Transfer("rhd", "freihand", _DUAL),
    "surreal-to-human36m": Transfer("surreal", "human3.6m"),
    "surreal-to-3dpw": Transfer("surreal", "3dpw"),
    "freihand-to-stb": Transfer("freihand", "stb", _MASKED),
    "freihand-to-rhd": Transfer("freihand", "rhd", _MASKED),
    "freihand-to-panoptic": Transfer("freihand", "panoptic-hands", _MASKED),
    "freihand-to-ganerated": Transfer("freihand", "ganerated", _MASKED),
    "human36m-to-3dpw": Transfer("human3.6m", "3dpw", _MASKED),
    "human36m-to-mpi-inf-3dhp": Transfer("human3.6m", "mpi-inf-3dhp", _MASKED),
    "human36m-to-surreal": Transfer("human3.6m", "surreal", _MASKED),
    "rhd-to-rhd": Transfer("rhd", "rhd", _ALIGNED),
    "stb-to-stb": Transfer("stb", "stb", _ALIGNED),
    "renders-to-nyu": Transfer(None, "nyu"),
    "renders-to-icvl": Transfer(None, "icvl"),
    "renders-to-msra": Transfer(None, "msra"),
}


def find_transfer(name: str) -> Transfer:
    """The transfer of that name. Raises ``InputError`` for an unknown name, with all names."""
    if name not in TRANSFERS:
        raise InputError(f"there is no recipe {name!r}: choose {', '.join(TRANSFERS)}")
    return TRANSFERS[name]
