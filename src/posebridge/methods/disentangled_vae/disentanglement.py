"""How well pose and content are separated: what walks along one of them change of the other, in synthesised images."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.deployment.latent_walks import LatentFactor, walk
from posebridge.networks.image_synthesis import ImageSynthesisNetwork


@dataclass(frozen=True)
class Disentanglement:
    """Mean distances between the ends of walks, read from the synthesised images by the model's encoders.

    Poses are in reference bones a joint. Contents are in the unit of their latent space.
    """

    pose_in_pose_walks: float
    pose_in_content_walks: float
    content_in_pose_walks: float
    content_in_content_walks: float

    @property
    def pose_leak(self) -> float:
        """How far content walks move the pose, over how far pose walks do: 0 is perfect."""
        return self.pose_in_content_walks / self.pose_in_pose_walks

    @property
    def content_leak(self) -> float:
        """How far pose walks move the content, over how far content walks do: 0 is perfect."""
        return self.content_in_pose_walks / self.content_in_content_walks


@torch.inference_mode()
def measure_disentanglement(network: ImageSynthesisNetwork, images: Float[Tensor, "N 3 S S"]) -> Disentanglement:
    """Walks between the first half of the images and the second one, of each factor."""
    half = len(images) // 2
    first, last = images[:half], images[half : 2 * half]

    def moved(factor: LatentFactor) -> tuple[float, float]:
        ends = walk(network, first, last, factor, steps=2).image
        start, end = ends[:, 0], ends[:, 1]
        pose = (_poses(network, start) - _poses(network, end)).norm(dim=-1).mean()
        content = (network.content_latents(start) - network.content_latents(end)).norm(dim=-1).mean()
        return float(pose), float(content)

    pose, content = moved("pose"), moved("content")
    return Disentanglement(pose[0], content[0], pose[1], content[1])


def _poses(network: ImageSynthesisNetwork, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B J 3"]:
    latent = network.pose_latents(images)
    return network.synthesise(latent, network.content_latents(images))[1]
