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
    resize_images,
    still_camera_transform,
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

    pairs: PairConfig = field(default_factory=PairConfig)  # of target frames
    source_pairs: PairConfig = field(default_factory=PairConfig)  # of source frames, with ``source_videos``
    reconstructor: FrameReconstructorConfig = field(default_factory=FrameReconstructorConfig)
    features: VggFeatures | EncoderFeatures = field(default_factory=VggFeatures)
    # Of the softmax in Eq. 5; 1 is the paper's, for heat maps that are distributions already. The mean of a map with
    # wide tails is closer to the centre than its peak, so the loss sharpens maps more than it moves them.
    joint_temperature: float = 1.0
    # The generator is trained on predicted joints before its loss corrects them. The paper doesn't give the steps.
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=20_000, learning_rate=2e-4, decay="none"))
    batch_pairs: int = 16
    # Take half of the pairs from source videos, with labelled joints; not in the paper. A reconstructor that is trained
    # on wrong predicted joints alone reconstructs frames from wrong joints too.
    source_videos: bool = False
    weight: float = 0.1  # lambda_r, Eq. 11
    # In fine-tuning: the reconstructor's learning rate as a fraction of the pose network's, and whether source videos
    # still train it. The paper gives neither.
    fine_tuning_rate: float = 1.0
    fine_tune_on_source: bool = False

    @property
    def keeps_source_videos(self) -> bool:
        """Whether source videos also train the reconstructor in fine-tuning."""
        return self.source_videos and self.fine_tune_on_source


class ReconstructorTraining(Stage):
    """Sec. 3.3.2: trains the warping estimator and the generator on joints that the frozen pose network predicts."""

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
        torch.manual_seed(context.seed)  # initial weights must not depend on the stages before
        self.perceptual_loss = PerceptualLoss(config.features, network)
        self.reconstructor = FrameReconstructor(config.reconstructor, context.skeleton)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 9 with fixed joints: predicted ones, and labelled ones with ``source_videos``."""
        assert isinstance(batches["pairs"], UnlabelledBatch)
        view = same_view(batches["pairs"], self.geometry, generator)
        with torch.no_grad():
            uv_px = soft_joints(self.network(view.rgb)[0].float(), self.maps, view.rgb.shape[-1], self.temperature)
        pairs: dict[str, tuple[Observation, Tensor]] = {"reconstruction": (view, uv_px)}
        if "source_pairs" in batches:
            pairs["source_reconstruction"] = labelled_view(
                batches["source_pairs"], self.geometry, generator, self.mirror
            )
        with self.trainer.precision_plugin.forward_context():
            return {
                name: reconstruction_loss(self.reconstructor, self.perceptual_loss, *view_and_joints)
                for name, view_and_joints in pairs.items()
            }

    def trained_parameters(self):
        """Warping estimator and generator."""
        return self.reconstructor.parameters()

    def result(self) -> FrameReconstructor:
        """Warping estimator and generator."""
        return self.reconstructor


def soft_joints(
    heat: Float[Tensor, "B K h w"], maps: PoseMaps, image_px: int, temperature: float = 1.0
) -> Float[Tensor, "B K 2"]:
    """Eq. 5: the expectation of each heat map, in pixels of the image; differentiable."""
    uv_map = expectation(maps.probability(heat / temperature))
    return image_from_map(uv_map, (image_px, image_px), heat.shape[-2:])


def reconstruct_pairs(
    reconstructor: FrameReconstructor, view: Observation, uv_px: Float[Tensor, "B K 2"]
) -> ReconstructedFrames:
    """Driving frames, reconstructed from base frames. ``view`` and ``uv_px`` hold all base frames first."""
    base, driving = split_pairs(view)
    uv_base, uv_driving = uv_px.chunk(2)
    return reconstructor(base.rgb, uv_base, uv_driving, still_camera_transform(base, driving))


def reconstruction_loss(
    reconstructor: FrameReconstructor, perceptual_loss: PerceptualLoss, view: Observation, uv_px: Float[Tensor, "B K 2"]
) -> Float[Tensor, ""]:
    """Eq. 9: the perceptual loss of reconstructed against recorded driving frames, at the size of the former."""
    _, driving = split_pairs(view)
    image = reconstruct_pairs(reconstructor, view, uv_px).image
    return perceptual_loss(image, resize_images(driving.rgb, image.shape[-2:])).float().mean()


def draw_same_views(pairs: Observation, geometry: GeometryConfig, generator: Generator) -> Float[Tensor, "B 3 3"]:
    """One view for both frames of each pair."""
    return draw_views(geometry, len(pairs) // 2, pairs.rgb.shape[-1], generator, pairs.rgb.device).repeat(2, 1, 1)


def same_view(
    pairs: BatchT, geometry: GeometryConfig, generator: Generator, mirror: Sequence[int] | None = None
) -> BatchT:
    """Each pair, warped by one random view. ``mirror`` has the index of each joint's mirror joint, for labels."""
    return warp_batch(pairs, draw_same_views(pairs, geometry, generator), mirror)


def labelled_view(
    pairs: Observation, geometry: GeometryConfig, generator: Generator, mirror: Sequence[int]
) -> tuple[LabelledBatch, Float[Tensor, "B K 2"]]:
    """Each labelled pair, warped by one random view, and its joints in pixels of the view."""
    view = same_view(pairs, geometry, generator, mirror)
    assert isinstance(view, LabelledBatch)
    assert view.uv_px is not None
    return view, view.uv_px


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
