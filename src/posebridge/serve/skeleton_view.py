"""The skeleton of the served model for the page: joints, bones, colours."""

from typing import Any

from posebridge.skeletons.joint_colours import FAMILY_COLOURS, joint_family
from posebridge.skeletons.skeleton import Skeleton


def skeleton_json(skeleton: Skeleton) -> dict[str, Any]:
    """Joints with their families, bones as pairs of joint numbers, and the colour of each family in use."""
    families = [joint_family(joint) for joint in skeleton.joints]
    return {
        "name": skeleton.name,
        "joints": list(skeleton.joints),
        "family": families,
        "bones": [list(bone) for bone in skeleton.bones],
        "colours": {family: FAMILY_COLOURS[family] for family in dict.fromkeys(families)},
        "root": skeleton.root,
    }
