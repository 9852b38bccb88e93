"""The stage of aligned latent spaces: all encoders and decoders are trained at once, on the source alone."""

from collections.abc import Mapping
from dataclasses import fields, replace

import torch
from torch import Generator, nn

from posebridge.cameras.view_correction import to_view, view_axes
from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.clouds import Clouds, draw_clouds
from posebridge.data.streams import Stream
from posebridge.errors import InputError
from posebridge.methods.aligned_latent_spaces.config import AlignedLatentSpacesConfig
from posebridge.methods.aligned_latent_spaces.models import LatentModels, Modalities
from posebridge.methods.aligned_latent_spaces.objective import objective
from posebridge.networks.aligned_latents import AlignedPoseNetwork
from posebridge.training.context import Context
from posebridge.training.frames import Frames
from posebridge.training.source_training import augmented
from posebridge.training.stage import PoseStage, Terms

_WEAK = "weak"  # stream of samples whose joints are not used


class Alignment(PoseStage):
    """Trains a network that predicts poses from images, with the latent spaces of other modalities beside."""

    name = "alignment"

    def __init__(self, config: AlignedLatentSpacesConfig, context: Context, network: AlignedPoseNetwork):
        """Raises ``InputError`` for more labelled samples than the source has."""
        weights = {"pose": 1.0, "divergence": 1.0}  # the latter's weight rises, so the term contains it
        if network.heat_decoder is not None:
            weights["heat"] = config.heat_weight
        if config.clouds is not None:
            weights["cloud"] = config.cloud_weight
        if config.alignment == "divergence":
            weights["alignment"] = config.alignment_weight
        super().__init__(config.schedule, _streams(config, context.source), weights, **context.stage_options(1))
        self.config, self.skeleton = config, context.skeleton
        torch.manual_seed(context.seed)
        self.models = LatentModels(config, network.train())

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 5.1 to 5.4 on augmented samples."""
        known = self.modalities(batches, generator)
        with self.trainer.precision_plugin.forward_context():
            posteriors = self.models.posteriors(known)
            return objective(self.models, known, posteriors, self.config.beta_at(self.global_step), generator)

    def modalities(self, batches: Mapping[str, Observation], generator: Generator) -> Modalities:
        """Augmented samples of all streams, those without joints last."""
        parts = [self._modalities_of(batch, generator, name == _WEAK) for name, batch in batches.items()]
        return Modalities(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Modalities)})

    def _modalities_of(self, batch: Observation, generator: Generator, weak: bool) -> Modalities:
        assert isinstance(batch, LabelledBatch)
        clouds = self._clouds(batch, generator)
        # Points stay in the camera's frame, so depth and masks need not be warped.
        seen = replace(batch, depth_label_m=None, mask=None, hand_mask=None)
        view = augmented(seen, self.config, generator, self.skeleton.mirror)
        return modalities_of(view, clouds, self.models.network, weak)

    def _clouds(self, batch: LabelledBatch, generator: Generator) -> Clouds | None:
        return None if self.config.clouds is None else draw_clouds(batch, self.config.clouds.points, generator)

    def trained_parameters(self):
        """Those of all encoders and decoders."""
        return self.models.parameters()

    def result(self) -> AlignedPoseNetwork:
        """The network that predicts poses from images."""
        return self.models.network

    def other_results(self) -> Mapping[str, nn.Module]:
        """Decoder and encoder of clouds, where there are any."""
        others = {"cloud-decoder": self.models.cloud_decoder, "cloud-encoder": self.models.cloud_encoder}
        return {name: module for name, module in others.items() if module is not None}


def modalities_of(
    view: LabelledBatch, clouds: Clouds | None, network: AlignedPoseNetwork, weak: bool = False
) -> Modalities:
    """What is known of samples, in the frame of their view.

    Args:
        view: augmented images, with joints in the frame of their cameras.
        clouds: of the same samples, in the same frames; None: unknown.
        network: whose units and frame are taken.
        weak: leave joints out.

    Raises ``InputError`` for samples without joints in space or intrinsics.
    """
    if view.joints_m is None or view.uv_px is None or view.valid is None or view.camera is None:
        raise InputError(f"{view.key[0]}: the method needs joints in space and intrinsics: choose another source")
    if network.reference_length_m is None:
        raise ValueError("the network needs the mean length of the source's reference bone")
    T_view_cam = view_axes(view.camera, *view.rgb.shape[-2:], corrected=network.view_corrected)
    near, far = network.skeleton.reference
    length_m = (view.joints_m[:, far] - view.joints_m[:, near]).square().sum(dim=1).sqrt()
    measurable = view.valid[:, near] & view.valid[:, far] & view.valid[:, network.origin] & (length_m > 0)
    pose_m = to_view(view.joints_m - view.joints_m[:, [network.origin]], T_view_cam)
    if clouds is None:
        clouds = Clouds(pose_m.new_zeros(len(view), 0, 3), torch.zeros_like(measurable))
    # About their mean and in mean bones: samples without joints have neither a root nor a bone.
    cloud_m = to_view(clouds.points_m - clouds.points_m.mean(dim=1, keepdim=True), T_view_cam)
    usable = view.valid & (not weak)
    return Modalities(
        image=view.rgb,
        cloud=cloud_m / network.reference_length_m,
        pose=torch.where(measurable[:, None, None], pose_m / length_m[:, None, None], 0),
        uv_px=view.uv_px,
        has_image=torch.ones_like(measurable),
        has_cloud=clouds.present,
        has_joint=usable & measurable[:, None],
        has_pixel=usable,
    )


def _streams(config: AlignedLatentSpacesConfig, source: Frames[LabelledBatch]) -> dict[str, Stream[Observation]]:
    """Labelled samples, and the others where clouds are decoded."""
    count = config.labelled
    if count is None:
        return {"labelled": source.batches(config.batch_size)}
    if count > len(source):
        raise InputError(f"labelled={count}, and the source has {len(source)} samples: give fewer, or none")
    streams: dict[str, Stream[Observation]] = {"labelled": source.subset(slice(0, count)).batches(config.batch_size)}
    if config.clouds is not None and config.weak_batch_size and count < len(source):
        streams[_WEAK] = source.subset(slice(count, len(source))).batches(config.weak_batch_size)
    return streams
