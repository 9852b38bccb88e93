"""The objective of aligned latent spaces: reconstruction from each latent space (Eq. 5.10) and divergences."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.losses.clouds import chamfer_distance, earth_movers_distance
from posebridge.losses.keypoints import heatmap_l2
from posebridge.methods.aligned_latent_spaces.models import LatentModels, Modalities, Posterior
from posebridge.networks.aligned_latents import HeatMapConfig
from posebridge.representations.heatmaps import encode_gaussian, map_from_image
from posebridge.training.stage import Terms

_MIN_NORM = 1e-6  # keeps the gradient of a norm finite at zero


def objective(
    models: LatentModels, known: Modalities, posteriors: Mapping[str, Posterior], beta: float, generator: Generator
) -> Terms:
    """The terms of Eq. 5.1 to 5.4, each a sum over the latent spaces and a mean over the samples that have the target.

    ``pose``, ``heat`` and ``cloud`` are Eq. 5.9, 5.6, and the sum of 5.7 and 5.8. ``divergence`` is ``beta`` times the
    divergence from the prior, of all encoders: a product of experts has none of its own, as the expanded Eq. 5.4.
    ``alignment`` is the divergence of the joint encoder from that of images (Eq. 5.3). Terms of absent decoders and
    encoders are left out.
    """
    decoded = {name: (p.rows, p.gaussian.sample(generator)) for name, p in posteriors.items()}
    network, maps = models.network, models.network.config.heat_maps
    terms = {"pose": _sum(pose_term(network.decode_pose(z), known, rows) for rows, z in decoded.values())}
    if network.heat_decoder is not None and maps is not None:
        decode = network.heat_decoder
        terms["heat"] = _sum(heat_term(decode(z).float(), maps, known, rows) for rows, z in decoded.values())
    if models.cloud_decoder is not None:
        fold = models.cloud_decoder
        terms["cloud"] = _sum(cloud_term(fold(z).float(), known, rows) for rows, z in decoded.values())
    encoded = [p.gaussian for name, p in posteriors.items() if name != "joint" or models.joint_encoder is not None]
    terms["divergence"] = beta * _sum(gaussian.divergence().sum(dim=1).mean() for gaussian in encoded)
    if models.joint_encoder is not None:
        terms["alignment"] = alignment_term(posteriors)
    return terms


def pose_term(predicted: Float[Tensor, "n J 3"], known: Modalities, rows: Tensor) -> Float[Tensor, ""]:
    """Eq. 5.9: the norm of the difference of whole poses, over the joints that have a label."""
    valid = known.has_joint[rows]
    squared = (predicted.float() - known.pose[rows]).square().sum(dim=2)
    norm = (torch.where(valid, squared, 0).sum(dim=1) + _MIN_NORM**2).sqrt()
    return _mean(norm, valid.any(dim=1))


def heat_term(
    predicted: Float[Tensor, "n J h w"], maps: HeatMapConfig, known: Modalities, rows: Tensor
) -> Float[Tensor, ""]:
    """Eq. 5.6: the norm of the difference of each map, summed over joints on the map that have a label."""
    uv_map = map_from_image(known.uv_px[rows], known.image.shape[-2:], predicted.shape[-2:])
    target, inside = encode_gaussian(uv_map, maps.side, maps.side, maps.sigma)
    valid = known.has_pixel[rows] & inside
    return _mean(torch.where(valid, heatmap_l2(predicted, target), 0).sum(dim=1), valid.any(dim=1))


def cloud_term(predicted: Float[Tensor, "n N 3"], known: Modalities, rows: Tensor) -> Float[Tensor, ""]:
    """Eq. 5.7 and 5.8 of the samples with a cloud; no other is assigned."""
    there = known.has_cloud[rows]
    if not there.any():
        return predicted.new_zeros(())
    predicted, true = predicted[there], known.cloud[rows[there]]
    return (chamfer_distance(predicted, true) + earth_movers_distance(predicted, true)).mean()


def alignment_term(posteriors: Mapping[str, Posterior]) -> Float[Tensor, ""]:
    """Eq. 5.3: the divergence of q(z | x, w) from q(z | x), zero for a batch without pairs."""
    image, joint = posteriors.get("image"), posteriors.get("joint")
    if image is None or joint is None:
        return next(iter(posteriors.values())).gaussian.mean.new_zeros(())
    place = torch.searchsorted(image.rows, joint.rows)
    return joint.gaussian.divergence(image.gaussian[place]).sum(dim=1).mean()


def _mean(values: Float[Tensor, "n"], counted: Tensor) -> Float[Tensor, ""]:
    """Mean over the counted samples; zero without one."""
    return torch.where(counted, values, 0).sum() / counted.sum().clamp_min(1)


def _sum(values) -> Float[Tensor, ""]:
    return torch.stack([*values]).sum()
