"""Poses from several views, made one by a U-shaped graph network (Ren et al., CVPR 2022, Sec. 3.2).

A node is a joint as one view has it. Nodes of a view talk along its bones, nodes of one joint across views. From level
to level of ``skeletons.graph_pooling`` nodes are taken together, down to one a view; on the way up they are told apart.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from posebridge.skeletons.graph_pooling import GraphLevel, pooling_levels
from posebridge.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class ViewFusionConfig:
    """Which of Table 1's features nodes have. Widths are not given in the paper."""

    width: int = 128  # Z
    visual: bool = True  # F: what is seen around the joint
    confidence: Literal["none", "shared", "grouped"] = "grouped"  # C: one embedding for all; GC: one a group of joints
    layers: int = 2  # graph convolutions at each level


@dataclass(frozen=True)
class ViewJoints:
    """What N views have of J joints, all in the space of one of them, which is the candidate."""

    joints: Float[Tensor, "B N J 3"]
    features: Float[Tensor, "B N J C"]  # pooled by each joint's weight map
    quality: Float[Tensor, "B N J"]  # the weight map's peak
    present: Bool[Tensor, "B N"]  # views that there are; the others pad the batch

    def zero_padded(self) -> "ViewJoints":
        """With zeros where there is no view. Padding may hold anything, and NaN times zero would be NaN."""
        there = self.present[..., None, None]
        values = (torch.where(there, value, 0) for value in (self.joints, self.features, self.quality[..., None]))
        joints, features, quality = values
        return ViewJoints(joints, features, quality[..., 0], self.present)


@dataclass(frozen=True)
class FusedJoints:
    """One pose of all views, and what it is made of."""

    joints: Float[Tensor, "B J 3"]  # mean of the refined ones by their quality
    refined: Float[Tensor, "B N J 3"]
    quality: Float[Tensor, "B N J"]  # re-estimated; sums to one over the views that there are
    global_features: Float[Tensor, "B Z"]  # what the graph knows of the whole hand


class GraphConvolution(nn.Module):
    """Each node hears itself, its neighbours in the tree, and its likes in the other views."""

    def __init__(self, level: GraphLevel, width: int):
        super().__init__()
        self.own = nn.Linear(width, width)
        self.spatial = nn.Linear(width, width, bias=False)
        self.across = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        neighbours = torch.zeros(len(level), len(level))
        for parent, child in level.edges:
            neighbours[parent, child] = neighbours[child, parent] = 1
        mean = neighbours / neighbours.sum(1, keepdim=True).clamp_min(1)
        self.register_buffer("neighbours", mean, persistent=False)

    neighbours: Float[Tensor, "n n"]

    def forward(self, x: Float[Tensor, "B N n Z"], present: Bool[Tensor, "B N"]) -> Float[Tensor, "B N n Z"]:
        """Absent views are not heard."""
        there = present[..., None, None].to(x)
        heard = x * there
        others = (heard.sum(1, keepdim=True) - heard) / (there.sum(1, keepdim=True) - there).clamp_min(1)
        told = self.own(x) + self.spatial(self.neighbours @ x) + self.across(others)
        return x + self.norm(told).relu()


class PerNodeLinear(nn.Module):
    """A layer of its own for each node of a level."""

    def __init__(self, nodes: int, inputs: int, outputs: int):
        super().__init__()
        bound = inputs**-0.5  # as of one linear layer
        self.weight = nn.Parameter(torch.empty(nodes, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(nodes, outputs).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "*n nodes inputs"]) -> Float[Tensor, "*n nodes outputs"]:
        """Linear, node by node."""
        return torch.einsum("...ni,nio->...no", x, self.weight) + self.bias


class ViewFusion(nn.Module):
    """Any number of views, in any order, to one pose."""

    def __init__(self, config: ViewFusionConfig, skeleton: Skeleton, features: int):
        """``features`` is the number of channels of what is seen."""
        super().__init__()
        self.config = config
        levels = pooling_levels(skeleton)
        for number, level in enumerate(levels[:-1]):
            self.register_buffer(f"coarser_{number}", torch.tensor(level.coarse_node), persistent=False)
        width = config.width
        shared = width // 2 if config.visual else width
        self.position = nn.Linear(3, shared)
        self.visual = nn.Linear(features, width - shared) if config.visual else None  # phi, after pooling: linear both
        groups = _groups(skeleton) if config.confidence == "grouped" else (0,) * len(skeleton)
        self.register_buffer("group", torch.tensor(groups), persistent=False)
        confident = config.confidence != "none"
        self.embedding = nn.Embedding(2 * (max(groups) + 1), width) if confident else None  # a slope and an offset each
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=0.02)  # not to drown where the joints are and what is seen there
        self.down = nn.ModuleList(
            nn.ModuleList(GraphConvolution(level, width) for _ in range(config.layers)) for level in levels
        )
        self.up = nn.ModuleList(PerNodeLinear(len(level), 2 * width, width) for level in levels[:-1])
        self.offset_head = nn.Linear(width, 3)
        self.quality_head = nn.Linear(width, 1)
        nn.init.zeros_(self.offset_head.weight)  # begins as the mean over views
        nn.init.zeros_(self.offset_head.bias)
        nn.init.zeros_(self.quality_head.weight)
        nn.init.zeros_(self.quality_head.bias)

    group: Tensor

    def forward(self, views: ViewJoints) -> FusedJoints:
        """Raises ``ValueError`` for a sample without any view."""
        if not views.present.any(1).all():
            raise ValueError("a sample without any view can't be fused")
        there, views = views.present[..., None, None], views.zero_padded()
        x, passed = self._nodes(views), []
        for number, layers in enumerate(self.down):
            assert isinstance(layers, nn.ModuleList)
            for layer in layers:
                x = layer(x, views.present)
            passed.append(x)
            if number < len(self.up):
                x = _pooled(x, self._coarser(number))
        count = there.sum(1).clamp_min(1)
        whole = ((passed[-1] * there).sum(1) / count)[:, 0]
        for number in reversed(range(len(self.up))):
            x = self.up[number](torch.cat([x[:, :, self._coarser(number)], passed[number]], dim=-1)).relu()
        refined = views.joints + self.offset_head(x)
        judged = self.quality_head(x)[..., 0].masked_fill(~views.present[..., None], -torch.inf)
        quality = judged.softmax(1)
        return FusedJoints((quality[..., None] * refined).sum(1), refined, quality, whole)

    def _coarser(self, number: int) -> Int[Tensor, "n"]:
        """To which nodes of the next level those of this one belong."""
        return self.get_buffer(f"coarser_{number}")

    def _nodes(self, views: ViewJoints) -> Float[Tensor, "B N J Z"]:
        parts = [self.position(views.joints)]
        if self.visual is not None:
            parts.append(self.visual(views.features))
        nodes = torch.cat(parts, dim=-1)
        if self.embedding is None:
            return nodes
        slope, offset = self.embedding.weight.unflatten(0, (-1, 2))[self.group].unbind(1)
        return nodes + views.quality[..., None] * slope + offset


def _pooled(x: Float[Tensor, "B N n Z"], coarser: Int[Tensor, "n"]) -> Float[Tensor, "B N m Z"]:
    """Means of the nodes that are taken together."""
    count = torch.bincount(coarser).to(x)[:, None]
    sums = x.new_zeros(*x.shape[:2], len(count), x.shape[-1]).index_add(2, coarser, x)
    return sums / count


def _groups(skeleton: Skeleton) -> tuple[int, ...]:
    """The group of each joint; joints of none are one group more."""
    groups = skeleton.group_indices()
    found = [len(groups)] * len(skeleton)
    for number, joints in enumerate(groups.values()):
        for joint in joints:
            found[joint] = number
    return tuple(found)


def mean_of_views(views: ViewJoints) -> Float[Tensor, "B J 3"]:
    """Table 1, Average."""
    return views.zero_padded().joints.sum(1) / views.present[..., None, None].sum(1)


def weighted_mean_of_views(views: ViewJoints) -> Float[Tensor, "B J 3"]:
    """Table 1, Weight: by the quality of each view's joint."""
    views = views.zero_padded()
    weight = views.quality / views.quality.sum(1, keepdim=True).clamp_min(1e-12)
    return (weight[..., None] * views.joints).sum(1)


def median_of_views(views: ViewJoints) -> Float[Tensor, "B J 3"]:
    """Table 1, Median: of each coordinate; of an even number of views the mean of the two in the middle."""
    absent = ~views.present[..., None, None]
    ordered = views.joints.masked_fill(absent, torch.inf).sort(dim=1).values
    count = views.present.sum(1)
    low, high = ((count - 1) // 2, count // 2)
    rows = torch.arange(len(ordered), device=ordered.device)
    return (ordered[rows, low] + ordered[rows, high]) / 2
