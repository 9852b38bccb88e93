"""Latent walks and pose transfer with a model of image synthesis (Fig. 4.4 to 4.6 of Yang's dissertation, 2022)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.networks.image_synthesis import ImageSynthesisNetwork

LatentFactor = Literal["pose", "content"]


@dataclass(frozen=True)
class SynthesisedImages:
    """R x C synthesised images, and the poses that their latent vectors decode to."""

    image: Float[Tensor, "R C 3 S S"]  # in [0, 1]
    pose: Float[Tensor, "R C J 3"]  # reference bones, with the axes of the image


@torch.inference_mode()
def combine_latents(
    network: ImageSynthesisNetwork, pose: Float[Tensor, "R d"], content: Float[Tensor, "C e"]
) -> SynthesisedImages:
    """Every pose with every content: a row of images for each pose."""
    rows, columns = len(pose), len(content)
    image, joints = network.synthesise(pose.repeat_interleave(columns, 0), content.repeat(rows, 1))
    return SynthesisedImages(image.unflatten(0, (rows, columns)), joints.unflatten(0, (rows, columns)))


@torch.inference_mode()
def transfer(
    network: ImageSynthesisNetwork, poses: Float[Tensor, "R 3 S S"], contents: Float[Tensor, "C 3 S S"]
) -> SynthesisedImages:
    """The hands' poses of some images in the contents of others (Fig. 4.6). ``InputError`` for another size."""
    return combine_latents(network, network.pose_latents(poses), network.content_latents(contents))


@torch.inference_mode()
def walk(
    network: ImageSynthesisNetwork,
    first: Float[Tensor, "B 3 S S"],
    last: Float[Tensor, "B 3 S S"],
    factor: LatentFactor,
    steps: int,
) -> SynthesisedImages:
    """B walks of ``steps`` images between the latent vectors of pairs of images (Fig. 4.4 and 4.5).

    One factor is interpolated linearly, both ends included; the other one stays that of the first image.
    Raises ``InputError`` for images of another size.
    """
    encode = network.pose_latents if factor == "pose" else network.content_latents
    fixed = network.content_latents(first) if factor == "pose" else network.pose_latents(first)
    moving = interpolate(encode(first), encode(last), steps)
    still = fixed[:, None].expand(-1, steps, -1)
    pair = (moving, still) if factor == "pose" else (still, moving)
    image, joints = network.synthesise(*(latent.flatten(0, 1) for latent in pair))
    return SynthesisedImages(image.unflatten(0, (len(first), steps)), joints.unflatten(0, (len(first), steps)))


def interpolate(first: Float[Tensor, "B d"], last: Float[Tensor, "B d"], steps: int) -> Float[Tensor, "B n d"]:
    """Points at equal distances on the lines between pairs of latent vectors, both ends included."""
    t = torch.linspace(0, 1, steps, device=first.device)[None, :, None]
    return torch.lerp(first[:, None], last[:, None], t)
