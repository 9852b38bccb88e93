"""The tracks of SynthShift by name: what is rendered, for which sensor, and with which joints."""

from typing import Literal

Track = Literal["hand-rgb", "body-rgb", "hand-depth"]
BodyJoints = Literal["h36m17", "coco17", "body22", "smpl24", "mpii16"]
"""Joints that renders of people may label, by the name of their skeleton."""
