"""What a skeleton is: named joints, a tree, mirror pairs; and conversion between joint orders by name."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from posebridge.errors import InputError


@dataclass(frozen=True)
class Skeleton:
    """Joints of a hand or a body. Everything is by name; indices are derived."""

    name: str
    joints: tuple[str, ...]
    parent_of: dict[str, str]  # every joint but the root
    reference_bone: tuple[str, str]  # the bone whose length normalises depth, Iqbal et al. 2018
    mirror_of: dict[str, str] = field(default_factory=dict)  # left joint -> right joint; empty for one hand
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)  # columns of the papers' tables
    aliases: dict[str, str] = field(default_factory=dict)  # other public names -> ours

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Position of a joint, by its own name or an alias. Raises ``InputError`` if the skeleton lacks it."""
        try:
            return self.joints.index(self.aliases.get(joint, joint))
        except ValueError:
            raise InputError(
                f"skeleton {self.name} has no joint {joint!r}; its joints are {', '.join(self.joints)}"
            ) from None

    @cached_property
    def root(self) -> int:
        """Index of the joint without a parent."""
        (root,) = [i for i, name in enumerate(self.joints) if name not in self.parent_of]
        return root

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
        """For every joint the index of its mirror image (itself if it has none)."""
        both = self.mirror_of | {right: left for left, right in self.mirror_of.items()}
        return tuple(self.index(both.get(name, name)) for name in self.joints)

    def group_indices(self) -> dict[str, tuple[int, ...]]:
        """Joint indices of each group of the papers' tables."""
        return {group: tuple(self.index(j) for j in names) for group, names in self.groups.items()}

    def order_of(self, names: list[str] | tuple[str, ...]) -> np.ndarray:
        """For each of our joints its position in ``names``, or -1 where ``names`` lacks it.

        Names may be ours or aliases. Raises ``InputError`` where a name occurs twice or none is known.
        """
        known = [self.aliases.get(name, name) for name in names]
        ours = [name for name in known if name in self.joints]
        if len(set(ours)) != len(ours):
            raise InputError(f"joint names repeat: {', '.join(names)}")
        if not ours:
            raise InputError(f"no joint of skeleton {self.name} is among the names {', '.join(names)}")
        return np.array([known.index(joint) if joint in known else -1 for joint in self.joints])
