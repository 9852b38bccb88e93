"""Training of the frame reconstructor on pairs of video frames.

Lin et al., NeurIPS 2023, Sec. 3.3.2, Eq. 5 and 9.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.contracts.batch import BatchT, LabelledBatch, Observation, UnlabelledBatch
from posebridge.data.augment import GeometryConfig, draw_views, warp_batch
from posebridge.data.pairs import PairConfig, split_pairs
from posebridge.data.streams import Stream
from posebridge.methods.geometric_reconstruction.frame_reconstructor import (
    FrameReconstructor,
    FrameReconstructorConfig,
    ReconstructedFrames,
    still_background,
)
from posebridge.methods.geometric_reconstruction.perceptual_features import EncoderFeatures, PerceptualLoss, VggFeatures
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.representations.heatmaps import expectation, image_from_map
from posebridge.representations.pose_maps import PoseMaps
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.stage import Stage, Terms


@dataclass(frozen=True)
class ReconstructionConfig:
    """Sec. 3.3.2 and supplement A."""

    pairs: PairConfig = field(default_factory=PairConfig)  # of the target's frames
    source_pairs: PairConfig = field(default_factory=PairConfig)  # of the source's, where they train the generator
    reconstructor: FrameReconstructorConfig = field(default_factory=FrameReconstructorConfig)
    features: VggFeatures | EncoderFeatures = field(default_factory=VggFeatures)
    # Of the softmax of Eq. 5, where heat maps are distributions already; 1 is the paper's. The mean of a map with wide
    # tails lies nearer to the middle than its peak, and the redrawing's error then sharpens maps, and moves them less.
    joint_temperature: float = 1.0
    # The generator is trained on predicted joints before it may correct them; for how long is not given.
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=20_000, learning_rate=2e-4, decay="none"))
    batch_pairs: int = 16
    # Half of these from videos of the source, with their true joints: not in the paper. From joints that are predicted,
    # and often wrong, the reconstructor learns to be content with wrong ones.
    source_videos: bool = False
    # Fine-tuning by labels and pseudo-labels alone, before the loss joins; its share of the 80 epochs is not given.
    warm_start: Schedule = field(default_factory=lambda: Schedule(steps=10_000, learning_rate=1e-4, decay="none"))
    weight: float = 0.1  # lambda_r, Eq. 11

    def warm_share(self, rest: Schedule) -> float:
        """The share of fine-tuning that is over when the loss joins, the ``rest`` of it to come."""
        return self.warm_start.steps / (self.warm_start.steps + rest.steps)


class ReconstructorTraining(Stage):
    """Sec. 3.3.2: the warping estimator and the generator learn to redraw from joints as the network predicts them."""

    name = "reconstructor"

    def __init__(
        self,
        geometry: GeometryConfig,
        config: ReconstructionConfig,
        context: Context,
        network: PoseResNet,
    ):
        streams = reconstruction_streams(context, config)
        super().__init__(
            config.schedule,
            streams,
            {name.replace("pairs", "reconstruction"): 1.0 for name in streams},
            **context.stage_options(5),
        )
        self.geometry = geometry
        self.mirror = context.skeleton.mirror
        self.temperature = config.joint_temperature
        self.maps = network.maps
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        torch.manual_seed(context.seed)  # of initial weights, the same whichever stages were trained or loaded before
        self.compare = PerceptualLoss(config.features, network)
        self.reconstructor = FrameReconstructor(config.reconstructor, context.skeleton)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 9 with joints that don't move: predicted ones, and true ones where the source has videos."""
        assert isinstance(batches["pairs"], UnlabelledBatch)
        view = same_view(batches["pairs"], self.geometry, generator)
        with torch.no_grad():
            uv_px = soft_joints(self.network(view.rgb)[0].float(), self.maps, view.rgb.shape[-1], self.temperature)
        seen: dict[str, tuple[Observation, Tensor]] = {"reconstruction": (view, uv_px)}
        if "source_pairs" in batches:
            known = same_view(batches["source_pairs"], self.geometry, generator, self.mirror)
            assert isinstance(known, LabelledBatch)
            assert known.uv_px is not None
            seen["source_reconstruction"] = (known, known.uv_px)
        with self.trainer.precision_plugin.forward_context():
            return {name: reconstruction_loss(self.reconstructor, self.compare, *pairs) for name, pairs in seen.items()}

    def trained(self):
        """Warping estimator and generator."""
        return self.reconstructor.parameters()

    def result(self) -> FrameReconstructor:
        """Warping estimator and generator."""
        return self.reconstructor


def soft_joints(
    heat: Float[Tensor, "B K h w"], maps: PoseMaps, image_px: int, temperature: float = 1.0
) -> Float[Tensor, "B K 2"]:
    """Eq. 5: the mean place under each heat map, in pixels of the image; differentiable."""
    places = expectation(maps.probability(heat / temperature))
    return image_from_map(places, (image_px, image_px), heat.shape[-2:])


def reconstruct_pairs(
    reconstructor: FrameReconstructor, view: Observation, uv_px: Float[Tensor, "B K 2"]
) -> ReconstructedFrames:
    """Driving frames redrawn from base frames; ``uv_px`` are the joints of the batch, bases first."""
    base, driving = split_pairs(view)
    uv_base, uv_driving = uv_px.chunk(2)
    return reconstructor(base.rgb, uv_base, uv_driving, still_background(base, driving))


def reconstruction_loss(
    reconstructor: FrameReconstructor, compare: PerceptualLoss, view: Observation, uv_px: Float[Tensor, "B K 2"]
) -> Float[Tensor, ""]:
    """Eq. 9: how far the redrawn driving frames are from the true ones."""
    _, driving = split_pairs(view)
    return compare(reconstruct_pairs(reconstructor, view, uv_px).image, driving.rgb).float().mean()


def draw_same_views(pairs: Observation, geometry: GeometryConfig, generator: Generator) -> Float[Tensor, "B 3 3"]:
    """One view for both frames of each pair."""
    return draw_views(geometry, len(pairs) // 2, pairs.rgb.shape[-1], generator, pairs.rgb.device).repeat(2, 1, 1)


def same_view(
    pairs: BatchT, geometry: GeometryConfig, generator: Generator, mirror: Sequence[int] | None = None
) -> BatchT:
    """Pairs seen through one view each; labels change sides by ``mirror`` where a view does."""
    return warp_batch(pairs, draw_same_views(pairs, geometry, generator), mirror)


def reconstruction_streams(context: Context, reconstruction: ReconstructionConfig) -> dict[str, Stream[Observation]]:
    """Pairs of the target; with videos of the source, half of each. Raises ``InputError`` for frames without pairs."""
    target = context.target_frames
    if not reconstruction.source_videos:
        return {"pairs": target.pairs(reconstruction.batch_pairs, reconstruction.pairs)}
    half = reconstruction.batch_pairs // 2
    return {
        "pairs": target.pairs(half, reconstruction.pairs),
        "source_pairs": context.source.pairs(half, reconstruction.source_pairs),
    }
