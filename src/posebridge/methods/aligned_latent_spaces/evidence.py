"""Sections of the report: predicted clouds and poses, interpolation of latent vectors, divergences by dimension."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.section import LineChart, Number, Picture, PictureRow, Section
from posebridge.data.clouds import draw_clouds
from posebridge.draw import generator_for
from posebridge.losses.clouds import chamfer_distance
from posebridge.methods.aligned_latent_spaces.alignment import Alignment, modalities_of
from posebridge.methods.aligned_latent_spaces.models import Modalities
from posebridge.methods.aligned_latent_spaces.pictures import cloud_picture, pose_picture
from posebridge.methods.base import Evidence
from posebridge.representations.gaussian import Gaussian
from posebridge.training.pictures import as_picture
from posebridge.training.stage import last_stage

_SHOWN = 6  # frames
_MEASURED = 256  # frames
_STEPS = 6  # pictures of an interpolation
_USED_NATS = 0.1  # divergence from which a dimension counts as used


def aligned_sections(evidence: Evidence) -> tuple[Section, ...]:
    """Sections of labelled frames of the target; none without joints in space, intrinsics, or the stage."""
    stage, frames = last_stage(evidence.stages, Alignment), evidence.frame_labels
    if stage is None or frames is None or frames.joints_m is None or frames.camera is None:
        return ()
    measured = _Measured.of(stage, frames[:_MEASURED])
    return (_reconstructions(measured), _interpolation(measured), _divergences(measured))


@dataclass(frozen=True)
class _Measured:
    """Frames of the target, and what the trained networks make of their images."""

    stage: Alignment
    frames: LabelledBatch
    known: Modalities
    image: Gaussian
    cloud: Gaussian | None  # of the frames that have a cloud, where it has an encoder

    @classmethod
    @torch.no_grad()
    def of(cls, stage: Alignment, frames: LabelledBatch) -> "_Measured":
        models = stage.models.eval()
        device = next(models.parameters()).device
        frames, config = frames.to(device), stage.config
        clouds = None
        if config.clouds is not None and frames.depth_label_m is not None and frames.hand_mask is not None:
            clouds = draw_clouds(frames, config.clouds.points, generator_for(stage.seed, 0))
        known = modalities_of(frames, clouds, models.network)
        encoder = models.cloud_encoder
        cloud = None if encoder is None or clouds is None else encoder(known.cloud[known.has_cloud])
        return cls(stage, frames, known, models.network.encoder(known.image), cloud)

    @torch.no_grad()
    def pose(self, latent: Float[Tensor, "n D"]) -> np.ndarray:
        """Decoded poses (n, J, 3)."""
        return self.stage.models.network.decode_pose(latent).cpu().numpy()

    @torch.no_grad()
    def points(self, latent: Float[Tensor, "n D"]) -> Tensor | None:
        """Decoded clouds; None without a decoder."""
        decoder = self.stage.models.cloud_decoder
        return None if decoder is None else decoder(latent)


def _reconstructions(measured: _Measured) -> Section:
    known, latent = measured.known, measured.image.mean
    predicted, decoded = measured.pose(latent[:_SHOWN]), measured.points(latent)
    rows = []
    for i in range(min(_SHOWN, len(known.image))):
        pictures = [Picture(as_picture(known.image[i]), "image"), _compared_poses(measured, i, predicted[i])]
        if known.has_cloud[i]:
            pictures.append(cloud_picture("true cloud", known.cloud[i].cpu().numpy()))
        if decoded is not None:
            pictures.append(cloud_picture("predicted cloud", decoded[i].cpu().numpy()))
        rows.append(PictureRow(measured.frames.key[i], tuple(pictures)))
    numbers: tuple[Number, ...] = ()
    if decoded is not None and known.has_cloud.any():
        assert measured.stage.models.network.reference_length_m is not None
        distance = chamfer_distance(decoded[known.has_cloud], known.cloud[known.has_cloud]).mean()
        to_mm = 1000 * measured.stage.models.network.reference_length_m
        numbers = (Number("Chamfer distance of predicted clouds", to_mm * float(distance), "mm"),)
    return Section(
        "Poses and clouds from images",
        "Frames of the target. Crosses are true joints. Near points are red, far ones blue. True clouds are not used.",
        numbers=numbers,
        picture_rows=tuple(rows),
    )


def _compared_poses(measured: _Measured, frame: int, predicted: np.ndarray) -> Picture:
    true = measured.known.pose[frame].cpu().numpy().copy()
    true[~measured.known.has_joint[frame].cpu().numpy()] = np.nan
    return pose_picture("pose", predicted=predicted, truth=true)


def _interpolation(measured: _Measured) -> Section:
    """Between the two of the shown images whose latent vectors are farthest apart."""
    latent = measured.image.mean[:_SHOWN]
    first, last = divmod(int(torch.cdist(latent, latent).argmax()), len(latent))
    along = torch.linspace(0, 1, _STEPS, device=latent.device)[:, None]
    between = (1 - along) * latent[first] + along * latent[last]
    rows = [PictureRow("images", tuple(Picture(as_picture(measured.known.image[i]), "image") for i in (first, last)))]
    captions = [f"{float(factor):.1f}" for factor in along]
    poses = zip(captions, measured.pose(between), strict=True)
    rows.append(PictureRow("poses", tuple(pose_picture(caption, predicted=pose) for caption, pose in poses)))
    if (points := measured.points(between)) is not None:
        clouds = zip(captions, points.cpu().numpy(), strict=True)
        rows.append(PictureRow("clouds", tuple(cloud_picture(caption, cloud) for caption, cloud in clouds)))
    text = "Poses and clouds decoded on the line between the latent vectors of two images."
    return Section("Interpolation of latent vectors", text, picture_rows=tuple(rows))


def _divergences(measured: _Measured) -> Section:
    by_name = {"images": measured.image} | ({} if measured.cloud is None else {"clouds": measured.cloud})
    series, numbers = {}, []
    for name, gaussian in by_name.items():
        nats = gaussian.divergence().mean(dim=0).sort(descending=True).values
        series[name] = tuple((float(i + 1), float(value)) for i, value in enumerate(nats))
        numbers.append(Number(f"dimensions used, {name}", int((nats > _USED_NATS).sum()), digits=0))
    chart = LineChart("Divergence by dimension", "dimension, sorted", "nats", series)
    return Section(
        "Divergence from the prior",
        f"Mean divergence of q(z | x) from N(0, I). A dimension counts as used from {_USED_NATS} nats on.",
        numbers=tuple(numbers),
        line_charts=(chart,),
    )
