"""Kinds of subjects that a detector finds, in the order of its maps."""

from typing import Literal, get_args

SubjectKind = Literal["hand", "person"]
SUBJECT_KINDS: tuple[SubjectKind, ...] = get_args(SubjectKind)
