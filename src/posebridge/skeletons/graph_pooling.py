"""Joints that are taken together, coarser and coarser, down to the whole: 21, 11, 6 and 1 node of a hand.

The hierarchy of Cai et al., ICCV 2019, and Ren et al., CVPR 2022, for any skeleton that is a tree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from posebridge.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class GraphLevel:
    """A graph of n nodes; the first level's nodes are the joints."""

    parents: tuple[int, ...]  # of each node, -1 of the root: what the edges are
    coarse_node: tuple[int, ...]  # the node of the next level to which each one belongs; empty at the last level

    def __len__(self) -> int:
        return len(self.parents)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """(parent, child)."""
        return tuple((parent, node) for node, parent in enumerate(self.parents) if parent >= 0)


def pooling_levels(skeleton: Skeleton) -> tuple[GraphLevel, ...]:
    """Levels from the joints to one node.

    From level to level each chain of nodes is taken together in pairs from its base on, the root and joints where
    chains meet stay by themselves; at last, when no pair is left, everything is one.
    """
    levels, parents = [], skeleton.parents
    while len(parents) > 1:
        coarser = _pairs(parents)
        if max(coarser) + 1 == len(parents):
            coarser = (0,) * len(parents)
        levels.append(GraphLevel(tuple(parents), coarser))
        parents = _parents_of(parents, coarser)
    return (*levels, GraphLevel((-1,), ()))


def _pairs(parents: Sequence[int]) -> tuple[int, ...]:
    """For each node its pair's number. A node joins its parent's where that has no other child and no pair yet."""
    children = [parents.count(node) for node in range(len(parents))]
    number: list[int] = []
    alone: set[int] = set()  # nodes that a child may join
    count = 0
    for node, parent in enumerate(parents):
        if parent in alone and children[parent] == 1:
            number.append(number[parent])
            alone.discard(parent)
            continue
        number.append(count)
        count += 1
        if parent >= 0:  # the root stays by itself
            alone.add(node)
    return tuple(number)


def _parents_of(parents: Sequence[int], coarser: Sequence[int]) -> list[int]:
    found = [-1] * (max(coarser) + 1)
    for node, parent in enumerate(parents):
        if parent >= 0 and coarser[parent] != coarser[node]:
            found[coarser[node]] = coarser[parent]
    return found
