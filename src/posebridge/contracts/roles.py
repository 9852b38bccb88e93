"""The roles of the models that a run compares. Imports nothing, so that commands read them for their help."""

from typing import Literal, get_args

Role = Literal["source_only", "adapted", "supervised_target"]
ROLES: tuple[Role, ...] = get_args(Role)
