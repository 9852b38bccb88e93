"""Contrastive alignment of features (Lin et al., NeurIPS 2023, Eq. 2, after Chen et al., ICML 2020)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def nt_xent(
    anchor: Float[Tensor, "B D"], positive: Float[Tensor, "B D"], temperature: float = 0.5
) -> Float[Tensor, "B"]:
    """Eq. 2: each anchor close to its own positive, far from all other samples' anchors and positives; per sample.

    Similarity is the cosine. As the equation has it, and unlike Chen et al., the pair itself is not in the
    denominator, so the loss has no lower bound of zero. Raises ``ValueError`` for less than two samples.
    """
    if len(anchor) < 2:
        raise ValueError("a contrast needs at least two samples")
    z, z_plus = F.normalize(anchor, dim=1), F.normalize(positive, dim=1)
    logits = torch.cat([z @ z.T, z @ z_plus.T], dim=1) / temperature
    own = torch.eye(len(z), dtype=torch.bool, device=z.device).repeat(1, 2)
    attraction = (z * z_plus).sum(1) / temperature
    return logits.masked_fill(own, -torch.inf).logsumexp(1) - attraction
