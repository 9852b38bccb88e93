"""All skeletons by their names."""

from posebridge.errors import InputError
from posebridge.skeletons.body import BODIES
from posebridge.skeletons.depth_hands import ICVL16, NYU14
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton

SKELETONS: dict[str, Skeleton] = {skeleton.name: skeleton for skeleton in (HAND21, NYU14, ICVL16)} | BODIES


def skeleton_named(name: str) -> Skeleton:
    """The skeleton of that name. Raises ``InputError`` that lists the names for another one."""
    if name not in SKELETONS:
        raise InputError(f"no skeleton {name!r}: there are {', '.join(SKELETONS)}")
    return SKELETONS[name]
