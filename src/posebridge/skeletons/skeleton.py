"""Skeletons: named joints, a tree and mirror pairs, with conversion between joint orders by name."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from posebridge.errors import InputError


@dataclass(frozen=True)
class Skeleton:
    """Joints of a hand or a body, defined by name; indices are derived.

    A *canonical name* is the same anatomical point in every skeleton and in every order of ``skeletons.orders``. Names
    in datasets are not: Human3.6M's ``head`` is the top of the head, SMPL's the base of the skull.
    """

    name: str
    joints: tuple[str, ...]
    parent_of: dict[str, str]  # every joint but the root
    reference_bone: tuple[str, str]  # the bone whose length normalises depth, Iqbal et al. 2018
    mirror_of: dict[str, str] = field(default_factory=dict)  # left joint -> right joint; empty for a hand
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)  # columns of the papers' tables
    aliases: dict[str, str] = field(default_factory=dict)  # other public names -> joint names
    canonical_name_of: dict[str, str] = field(default_factory=dict)  # joint -> canonical name, if different

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Index of a joint, by name, alias or canonical name. Raises ``InputError`` if there is none."""
        try:
            return self.joints.index(self._joint_name(joint))
        except ValueError:
            raise InputError(
                f"skeleton {self.name} has no joint {joint!r}; its joints are {', '.join(self.joints)}"
            ) from None

    def _joint_name(self, name: str) -> str:
        """The joint name of an alias or canonical name; other names are returned unchanged."""
        return name if name in self.joints else self._other_names.get(name, name)

    @cached_property
    def _other_names(self) -> dict[str, str]:
        return {canonical: joint for joint, canonical in self.canonical_name_of.items()} | self.aliases

    @cached_property
    def canonical_names(self) -> tuple[str, ...]:
        """Canonical names of the joints, for conversion to other skeletons."""
        return tuple(self.canonical_name_of.get(joint, joint) for joint in self.joints)

    @cached_property
    def root(self) -> int:
        """Index of the joint without a parent."""
        (root,) = [i for i, name in enumerate(self.joints) if name not in self.parent_of]
        return root

    @cached_property
    def root_children(self) -> tuple[int, ...]:
        """Indices of the joints whose parent is the root."""
        return tuple(child for parent, child in self.bones if parent == self.root)

    @cached_property
    def parents(self) -> tuple[int, ...]:
        """Parent index of every joint; the root's is -1."""
        return tuple(self.index(self.parent_of[name]) if name in self.parent_of else -1 for name in self.joints)

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) indices, in the order of the children."""
        return tuple((p, c) for c, p in enumerate(self.parents) if p >= 0)

    @cached_property
    def reference(self) -> tuple[int, int]:
        """Indices of the reference bone's ends."""
        return self.index(self.reference_bone[0]), self.index(self.reference_bone[1])

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """Index of every joint's mirror image (its own if it has none)."""
        both = self.mirror_of | {right: left for left, right in self.mirror_of.items()}
        return tuple(self.index(both.get(name, name)) for name in self.joints)

    def group_indices(self) -> dict[str, tuple[int, ...]]:
        """Joint indices of each group of the papers' tables."""
        return {group: tuple(self.index(j) for j in names) for group, names in self.groups.items()}

    def order_of(self, names: list[str] | tuple[str, ...]) -> np.ndarray:
        """For each joint of the skeleton its position in ``names``, or -1 if absent.

        Names may be joint names, aliases or canonical names. Raises ``InputError`` if two names mean the same joint, or
        no name is known.
        """
        known = [self._joint_name(name) for name in names]
        repeated = sorted({name for name in known if name in self.joints and known.count(name) > 1})
        if repeated:
            raise InputError(
                f"joint names repeat: of {', '.join(names)}, more than one means {', '.join(repeated)} "
                f"of skeleton {self.name}; name each joint once"
            )
        if not set(known) & set(self.joints):
            raise InputError(
                f"no joint of skeleton {self.name} is among the names {', '.join(names)}; "
                f"its joints are {', '.join(self.joints)}"
            )
        return np.array([known.index(joint) if joint in known else -1 for joint in self.joints])
