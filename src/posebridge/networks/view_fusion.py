"""One pose from several views by a U-shaped graph network (Ren et al., CVPR 2022, Sec. 3.2).

A node is a joint in one view. Graph convolutions connect nodes along the bones of a view, and nodes of one joint across
views. ``skeletons.graph_pooling`` pools the nodes of each view to one; the second half of the network unpools them.
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
    """Which of Table 1's features the nodes have. The paper gives no widths."""

    width: int = 128  # Z
    visual: bool = True  # F: image features pooled around the joint
    confidence: Literal["none", "shared", "grouped"] = "grouped"  # C: one embedding; GC: one for each group of joints
    layers: int = 2  # graph convolutions at each level


@dataclass(frozen=True)
class ViewJoints:
    """J joints predicted in N views, all in the space of the candidate view."""

    joints: Float[Tensor, "B N J 3"]
    features: Float[Tensor, "B N J C"]  # image features pooled by each joint's weight map
    quality: Float[Tensor, "B N J"]  # peak of the weight map
    present: Bool[Tensor, "B N"]  # False for views that pad the batch

    def zero_padded(self) -> "ViewJoints":
        """Zeros in place of padding, which may hold NaN; NaN times zero would be NaN."""
        present = self.present[..., None, None]
        values = (torch.where(present, value, 0) for value in (self.joints, self.features, self.quality[..., None]))
        joints, features, quality = values
        return ViewJoints(joints, features, quality[..., 0], self.present)


@dataclass(frozen=True)
class FusedJoints:
    """One pose from all views, and the parts of which it is made."""

    joints: Float[Tensor, "B J 3"]  # mean of the refined joints, weighted by quality
    refined: Float[Tensor, "B N J 3"]
    quality: Float[Tensor, "B N J"]  # re-estimated; sums to one over the present views
    global_features: Float[Tensor, "B Z"]  # of the coarsest node, averaged over views


class GraphConvolution(nn.Module):
    """Combines each node with its neighbours in the tree and with the same node in the other views."""

    def __init__(self, level: GraphLevel, width: int):
        super().__init__()
        self.same_node = nn.Linear(width, width)
        self.neighbour = nn.Linear(width, width, bias=False)
        self.other_view = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        neighbours = torch.zeros(len(level), len(level))
        for parent, child in level.edges:
            neighbours[parent, child] = neighbours[child, parent] = 1
        mean = neighbours / neighbours.sum(1, keepdim=True).clamp_min(1)
        self.register_buffer("neighbours", mean, persistent=False)

    neighbours: Float[Tensor, "n n"]

    def forward(self, x: Float[Tensor, "B N n Z"], present: Bool[Tensor, "B N"]) -> Float[Tensor, "B N n Z"]:
        """Updated nodes; absent views don't contribute to the others."""
        weight = present[..., None, None].to(x)
        weighted = x * weight
        others = (weighted.sum(1, keepdim=True) - weighted) / (weight.sum(1, keepdim=True) - weight).clamp_min(1)
        update = self.same_node(x) + self.neighbour(self.neighbours @ x) + self.other_view(others)
        return x + self.norm(update).relu()


class PerNodeLinear(nn.Module):
    """A linear layer with separate weights for each node of a level."""

    def __init__(self, nodes: int, inputs: int, outputs: int):
        super().__init__()
        bound = inputs**-0.5  # as in torch.nn.Linear
        self.weight = nn.Parameter(torch.empty(nodes, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(nodes, outputs).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "*n nodes inputs"]) -> Float[Tensor, "*n nodes outputs"]:
        """Applies each node's layer."""
        return torch.einsum("...ni,nio->...no", x, self.weight) + self.bias


class ViewFusion(nn.Module):
    """Fuses any number of views, in any order, to one pose."""

    def __init__(self, config: ViewFusionConfig, skeleton: Skeleton, features: int):
        """``features`` is the number of channels of the image features."""
        super().__init__()
        self.config = config
        levels = pooling_levels(skeleton)
        for number, level in enumerate(levels[:-1]):
            self.register_buffer(f"coarse_node_{number}", torch.tensor(level.coarse_node), persistent=False)
        width = config.width
        shared = width // 2 if config.visual else width
        self.position = nn.Linear(3, shared)
        self.visual = (
            nn.Linear(features, width - shared) if config.visual else None
        )  # phi; it commutes with pooling, as both are linear
        groups = _groups(skeleton) if config.confidence == "grouped" else (0,) * len(skeleton)
        self.register_buffer("group", torch.tensor(groups), persistent=False)
        has_embedding = config.confidence != "none"
        self.embedding = nn.Embedding(2 * (max(groups) + 1), width) if has_embedding else None  # slope and offset
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=0.02)  # small beside the position and visual features
        self.down = nn.ModuleList(
            nn.ModuleList(GraphConvolution(level, width) for _ in range(config.layers)) for level in levels
        )
        self.up = nn.ModuleList(PerNodeLinear(len(level), 2 * width, width) for level in levels[:-1])
        self.offset_head = nn.Linear(width, 3)
        self.quality_head = nn.Linear(width, 1)
        nn.init.zeros_(self.offset_head.weight)  # the initial output is the mean over views
        nn.init.zeros_(self.offset_head.bias)
        nn.init.zeros_(self.quality_head.weight)
        nn.init.zeros_(self.quality_head.bias)

    group: Tensor

    def forward(self, views: ViewJoints) -> FusedJoints:
        """The fused pose. Raises ``ValueError`` for a sample without any view."""
        if not views.present.any(1).all():
            raise ValueError("a sample has no view to fuse: mark at least one view of each sample as present")
        present, views = views.present[..., None, None], views.zero_padded()
        x, skips = self._nodes(views), []
        for number, layers in enumerate(self.down):
            assert isinstance(layers, nn.ModuleList)
            for layer in layers:
                x = layer(x, views.present)
            skips.append(x)
            if number < len(self.up):
                x = _pool(x, self._coarse_node(number))
        count = present.sum(1).clamp_min(1)
        global_features = ((skips[-1] * present).sum(1) / count)[:, 0]
        for number in reversed(range(len(self.up))):
            x = self.up[number](torch.cat([x[:, :, self._coarse_node(number)], skips[number]], dim=-1)).relu()
        refined = views.joints + self.offset_head(x)
        logits = self.quality_head(x)[..., 0].masked_fill(~views.present[..., None], -torch.inf)
        quality = logits.softmax(1)
        return FusedJoints((quality[..., None] * refined).sum(1), refined, quality, global_features)

    def _coarse_node(self, number: int) -> Int[Tensor, "n"]:
        """For each node of a level, the node of the next level into which it is pooled."""
        return self.get_buffer(f"coarse_node_{number}")

    def _nodes(self, views: ViewJoints) -> Float[Tensor, "B N J Z"]:
        parts = [self.position(views.joints)]
        if self.visual is not None:
            parts.append(self.visual(views.features))
        nodes = torch.cat(parts, dim=-1)
        if self.embedding is None:
            return nodes
        slope, offset = self.embedding.weight.unflatten(0, (-1, 2))[self.group].unbind(1)
        return nodes + views.quality[..., None] * slope + offset


def _pool(x: Float[Tensor, "B N n Z"], coarse_node: Int[Tensor, "n"]) -> Float[Tensor, "B N m Z"]:
    """Means of the nodes that share a coarse node."""
    count = torch.bincount(coarse_node).to(x)[:, None]
    sums = x.new_zeros(*x.shape[:2], len(count), x.shape[-1]).index_add(2, coarse_node, x)
    return sums / count


def _groups(skeleton: Skeleton) -> tuple[int, ...]:
    """The group number of each joint; joints without a group form one more."""
    groups = skeleton.group_indices()
    found = [len(groups)] * len(skeleton)
    for number, joints in enumerate(groups.values()):
        for joint in joints:
            found[joint] = number
    return tuple(found)


def mean_of_views(views: ViewJoints) -> Float[Tensor, "B J 3"]:
    """Mean joints over the present views (Table 1, Average)."""
    return views.zero_padded().joints.sum(1) / views.present[..., None, None].sum(1)


def weighted_mean_of_views(views: ViewJoints) -> Float[Tensor, "B J 3"]:
    """Mean joints weighted by the quality of each view's joint (Table 1, Weight)."""
    views = views.zero_padded()
    weight = views.quality / views.quality.sum(1, keepdim=True).clamp_min(1e-12)
    return (weight[..., None] * views.joints).sum(1)


def median_of_views(views: ViewJoints) -> Float[Tensor, "B J 3"]:
    """Median of each coordinate over the present views (Table 1, Median).

    For an even number of views it is the mean of the two middle values.
    """
    absent = ~views.present[..., None, None]
    ordered = views.joints.masked_fill(absent, torch.inf).sort(dim=1).values
    count = views.present.sum(1)
    low, high = ((count - 1) // 2, count // 2)
    rows = torch.arange(len(ordered), device=ordered.device)
    return (ordered[rows, low] + ordered[rows, high]) / 2
