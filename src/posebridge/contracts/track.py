"""The tracks of SynthShift by name: what is rendered, and for which sensor."""

from typing import Literal

Track = Literal["hand-rgb", "body-rgb", "hand-depth"]
