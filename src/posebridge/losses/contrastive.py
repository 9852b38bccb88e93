"""Contrastive alignment of features (Lin et al., NeurIPS 2023, Eq. 2, after Chen et al., ICML 2020)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def nt_xent(
    anchor: Float[Tensor, "B D"], positive: Float[Tensor, "B D"], temperature: float = 0.5
) -> Float[Tensor, "B"]:
    """Contrastive loss of each sample (Eq. 2): attracts its positive, repels other anchors and positives.

    Similarity is the cosine. As in Eq. 2, and unlike Chen et al., the denominator excludes the positive pair, so the
    loss can be negative. Raises ``ValueError`` for fewer than two samples.
    """
    if len(anchor) < 2:
        raise ValueError(f"contrastive alignment needs at least two samples in a batch, got {len(anchor)}")
    z, z_plus = F.normalize(anchor, dim=1), F.normalize(positive, dim=1)
    logits = torch.cat([z @ z.T, z @ z_plus.T], dim=1) / temperature
    own = torch.eye(len(z), dtype=torch.bool, device=z.device).repeat(1, 2)
    attraction = (z * z_plus).sum(1) / temperature
    return logits.masked_fill(own, -torch.inf).logsumexp(1) - attraction
