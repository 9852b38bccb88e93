"""The adaptation stage of RegDA: features on which an adversarial head agrees with the pose head (CVPR 2021).

Public code updates three groups of weights one after another in each step. The same gradients are computed in one step
here: each disparity reaches only the weights that it trains.
"""

import copy
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.func import functional_call

from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.data.streams import Stream
from posebridge.losses.keypoints import heatmap_cross_entropy, weighted_mean
from posebridge.methods.regda.config import RegDAConfig
from posebridge.networks.hourglass import conv_bn_relu
from posebridge.networks.pose_network import FeatureNetwork
from posebridge.representations.heatmaps import encode_gaussian
from posebridge.training.context import Context
from posebridge.training.optimisers import ParameterGroup, groups_with_rate
from posebridge.training.source_training import augmented, augmented_target
from posebridge.training.stage import MapPair, PoseStage, Terms
from posebridge.training.supervision import heat_term, supervised_terms


class Adaptation(PoseStage):
    """Trains the pose network on the source, and the adversarial head against it on the target."""

    name = "regda"

    def __init__(self, config: RegDAConfig, context: Context, network: FeatureNetwork):
        streams: dict[str, Stream[Observation]] = {
            "source": context.source.batches(config.batch_size),
            "target": context.target_frames.batches(config.batch_size),
        }
        weights = {
            "heat": config.heat_weight,
            "depth": config.depth_weight,
            "adversary": config.margin,
            "largest_disparity": config.disparity_weight,
            "disparity": config.disparity_weight,
        }
        super().__init__(config.schedule, streams, weights, **context.stage_options(9))
        self.config = config
        self.maps = network.maps
        self.skeleton = context.skeleton
        self.network = copy.deepcopy(network).train().requires_grad_(True)
        torch.manual_seed(self.seed)
        self.adversary = nn.Sequential(
            conv_bn_relu(network.feature_channels, config.head_channels),
            nn.Conv2d(config.head_channels, len(context.skeleton), 1),
        )

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """The supervised terms of both heads, and the disparities on the target."""
        source = augmented(batches["source"], self.config, generator, self.skeleton.mirror)
        assert isinstance(batches["target"], UnlabelledBatch)
        target, _ = augmented_target(batches["target"], self.config, generator)
        image_px = source.rgb.shape[-1]
        assert source.uv_px is not None
        assert source.valid is not None

        features, maps = self._predict(source.rgb)
        terms = supervised_terms(self.maps, maps, source, self.skeleton)
        adversarial = self._adversary(self._scaled(features))
        terms["adversary"] = heat_term(self.maps, adversarial, source.uv_px, image_px, source.valid.float())

        features, (heat, depth) = self._predict(target)
        uv_map = self.maps.decode(heat.detach(), depth.detach()).uv_map
        # The head alone is trained towards the joints that the pose head doesn't predict, ...
        wrong = _other_joints(uv_map, heat.shape[-2:], self.maps.sigma)
        terms["largest_disparity"] = heatmap_cross_entropy(self._adversary(features.detach()), wrong).mean()
        # ... and the features alone so that the head predicts the same as the pose head.
        right, inside = self.maps.encode(uv_map, *heat.shape[-2:])
        agreement = heatmap_cross_entropy(self._frozen_adversary(self._scaled(features)), right)
        terms["disparity"] = weighted_mean(agreement, inside)
        return terms

    def _predict(self, images: Tensor) -> tuple[Tensor, MapPair]:
        """Features and maps of the pose network."""
        with self.trainer.precision_plugin.forward_context():
            features = self.network.map_features(images)[-1]
            heat, depth = self.network.maps_of(features)
        return features, (heat.float(), depth.float())

    def _scaled(self, features: Tensor) -> Tensor:
        """The features, whose gradient is multiplied by a factor that rises from 0."""
        risen = min(1.0, self.global_step / self.config.rise_steps) if self.config.rise_steps else 1.0
        factor = self.config.most_gradient * risen
        return factor * features + (1 - factor) * features.detach()

    def _adversary(self, features: Tensor) -> Float[Tensor, "B J h w"]:
        with self.trainer.precision_plugin.forward_context():
            return self.adversary(features).float()

    def _frozen_adversary(self, features: Tensor) -> Float[Tensor, "B J h w"]:
        """The adversarial head without gradients to its weights, and without an update of its statistics."""
        weights = {name: value.detach() for name, value in self.adversary.named_parameters()}
        buffers = {name: value.clone() for name, value in self.adversary.named_buffers()}
        with self.trainer.precision_plugin.forward_context():
            return functional_call(self.adversary, {**weights, **buffers}, (features,)).float()

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """Those of the network and of the adversarial head."""
        return (*self.network.parameters(), *self.adversary.parameters())

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The encoder has a lower rate."""
        encoder = self.network.encoder_parameters()
        return groups_with_rate(self.trained_parameters(), encoder, self.config.encoder_rate)

    def result(self) -> FeatureNetwork:
        """The adapted network."""
        return self.network


def _other_joints(uv_map: Float[Tensor, "B J 2"], size: Sequence[int], sigma: float) -> Float[Tensor, "B J h w"]:
    """For each joint, the distribution over the Gaussians of all other joints: the ground false of the paper.

    A joint without others on the map has a map of zeros, whose loss is zero.
    """
    gaussians, _ = encode_gaussian(uv_map, size[0], size[1], sigma, "peak")
    others = (gaussians.sum(dim=1, keepdim=True) - gaussians).clamp(0, 1)
    total = others.sum(dim=(-2, -1), keepdim=True)
    return others / torch.where(total > 0, total, 1)
