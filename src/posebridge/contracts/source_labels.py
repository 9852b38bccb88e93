"""Labels of the source that methods request. Imports no torch, so that tables of methods may name them."""

from collections.abc import Mapping
from typing import Literal

SourceLabel = Literal["joints", "mask", "hand_mask", "depth", "vertices"]
SourceLabels = frozenset[SourceLabel]

JOINTS: SourceLabels = frozenset({"joints"})

# Fields of ``LabelledBatch``; the first one has to be there.
FIELDS_OF: Mapping[SourceLabel, tuple[str, ...]] = {
    "joints": ("uv_px", "valid", "visible", "joints_m", "angles_rad", "phenotypes"),
    "mask": ("mask",),
    "hand_mask": ("hand_mask",),
    "depth": ("depth_label_m",),
    "vertices": ("vertices_m",),
}

SOURCES_OF: Mapping[SourceLabel, str] = {
    "joints": "every labelled dataset and all renders",
    "mask": "all renders, FreiHAND and SURREAL",
    "hand_mask": "renders of hands and RHD",
    "depth": "renders of hand-rgb and body-rgb, and RHD, MVHand and SURREAL opened with depth=True",
    "vertices": "renders of hands, and FreiHAND opened with vertices=True",
}


def describe_missing(label: SourceLabel) -> str:
    """What to print where a label is missing: its name, and the sources that have it."""
    return f"no label {label}, which {SOURCES_OF[label]} have"
