"""Pooling of skeleton graphs from joints to one node: 21, 11, 6 and 1 node for a hand.

The hierarchy of Cai et al., ICCV 2019, and Ren et al., CVPR 2022, for any skeleton that is a tree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from posebridge.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class GraphLevel:
    """A graph of n nodes; the nodes of the first level are the joints."""

    parents: tuple[int, ...]  # of each node, -1 for the root
    coarse_node: tuple[int, ...]  # node of the next level into which each is pooled; empty at the last level

    def __len__(self) -> int:
        return len(self.parents)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Edges as (parent, child)."""
        return tuple((parent, node) for node, parent in enumerate(self.parents) if parent >= 0)


def pooling_levels(skeleton: Skeleton) -> tuple[GraphLevel, ...]:
    """Graphs from the joints down to one node.

    Each level pools the nodes of a chain in pairs, starting at its base. The root and nodes with several children
    aren't pooled. If no pair is left, all nodes are pooled into one.
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
    """The pair of each node. A node joins its parent's pair if that is not full and the parent has no other child."""
    children = [parents.count(node) for node in range(len(parents))]
    number: list[int] = []
    unpaired: set[int] = set()  # nodes that a child may join
    count = 0
    for node, parent in enumerate(parents):
        if parent in unpaired and children[parent] == 1:
            number.append(number[parent])
            unpaired.discard(parent)
            continue
        number.append(count)
        count += 1
        if parent >= 0:  # the root is not paired
            unpaired.add(node)
    return tuple(number)


def _parents_of(parents: Sequence[int], coarser: Sequence[int]) -> list[int]:
    coarse_parents = [-1] * (max(coarser) + 1)
    for node, parent in enumerate(parents):
        if parent >= 0 and coarser[parent] != coarser[node]:
            coarse_parents[coarser[node]] = coarser[parent]
    return coarse_parents
