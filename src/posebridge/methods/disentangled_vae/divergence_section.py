"""Section of the report: the KL divergence of each dimension of the latent space."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.section import GroupChart, Number, Section
from posebridge.representations.gaussian import Gaussian

_USED = 0.1  # nats, from which a dimension counts as used


def divergence_section(posteriors: Mapping[str, Gaussian]) -> Section:
    """Of named parts of the latent space, whose posteriors are those of a batch."""
    numbers, charts = [], []
    for name, posterior in posteriors.items():
        nats: Float[Tensor, "D"] = posterior.divergence().mean(dim=0).cpu()
        used = int((nats > _USED).sum())
        numbers.append(Number(f"divergence, {name}", float(nats.sum()), "nats"))
        numbers.append(Number(f"dimensions in use, {name}", float(used), f"of {len(nats)}", digits=0))
        groups = tuple(str(i) for i in range(len(nats)))
        charts.append(
            GroupChart(f"Divergence by dimension, {name}", "nats", groups, {"divergence": tuple(nats.tolist())})
        )
    text = f"Mean KL divergence of each dimension from N(0, 1). A dimension below {_USED} nats carries next to nothing."
    return Section("Latent space", text, numbers=tuple(numbers), group_charts=tuple(charts))
