"""From a depth hand model to hands in metres: of each crop by itself, or of all views of a moment together."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.parametric_hand import RiggedHand, parametric_hand, pose_in_views
from posebridge.cameras.multiview import in_views
from posebridge.contracts.batch import Observation
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.cube_views import CubeViews
from posebridge.data.sets import sets_of
from posebridge.deployment.model_file import DepthHandSpec, skeleton_of
from posebridge.deployment.predictor import file_pixels
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.fitting.depth_misfit import DepthEvidence
from posebridge.fitting.hand_fitting import HandFittingConfig, fit_hands
from posebridge.networks.depth_hand import SeenHand
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.rendering.rasterise_warp import rasterise

NEAR_M = 0.01  # a mesh explains what was measured so near to its own depth


@dataclass(frozen=True)
class DepthHands:
    """B hands in the camera frames of their crops, in metres."""

    joints_m: Float[Tensor, "B J 3"]  # of the mesh
    confidence: Float[Tensor, "B J"]  # in [0, 1]
    pixel_joints_m: Float[Tensor, "B J 3"]  # by the pixels' word, which no anatomy binds
    vertices_m: Float[Tensor, "B V 3"]
    apart_m: Float[Tensor, "B"]  # median difference of the two depths where both are in the cube; NaN where nowhere
    explained: Float[Tensor, "B"]  # share of what was measured in the cube that is within a centimetre of the mesh


@dataclass(frozen=True)
class DepthHandPredictor:
    """A model with all that is needed to read it."""

    spec: DepthHandSpec
    model: DepthHandModel
    mano: Path | None = None  # MANO's file, for a model of that hand
    fitting: HandFittingConfig | None = None  # how hands are moved on to explain their depth; None: they stay

    def __post_init__(self):
        """Raises ``InputError`` where the model's hand needs a file that isn't given, or the other way about."""
        if self.spec.hand == "mano" and self.mano is None:
            raise InputError("this model gives MANO's hands: give --mano MANO_RIGHT.pkl")
        if self.spec.hand == "anny" and self.mano is not None:
            raise InputError("this model gives Anny's hands: leave --mano out")

    @cached_property
    def hand(self) -> RiggedHand:
        """The hand whose parameters the model gives."""
        return parametric_hand(self.mano, self.spec.network.shape_size)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @torch.no_grad()
    def __call__(self, batch: Observation, fused: bool = True) -> DepthHands:
        """Hands of a batch of crops. Calibrated views of one moment give one hand, unless they are not to be ``fused``.

        Raises ``ValueError`` for a batch without depth, intrinsics or centres.
        """
        views = CubeViews.of(batch, self.spec.cube_m)
        network = self.model.single
        seen = network(views.picture(), *views.points(network.map_stride))[-1]
        told = self._told(batch, views, seen, fused and batch.T_world_cam is not None)
        pixel_joints_m, joints_m, vertices_m = (views.in_cameras(points) for points in told)
        fit = beside_depth(views, vertices_m, self.hand.faces(views.depth_m.device))
        return DepthHands(joints_m, seen.confidence(), pixel_joints_m, vertices_m, *fit)

    def _told(self, batch: Observation, views: CubeViews, seen: SeenHand, fused: bool) -> tuple[Tensor, ...]:
        """The pixels' joints, and joints and vertices of meshes, in each view's space; of moments that several views
        saw, those of one hand.
        """
        if not fused:
            return self._of_moments(views, seen, len(batch))
        moments = defaultdict[int, list[Tensor]](list)
        for own in sets_of(batch):
            moments[len(own)].append(own)
        parts: list[tuple[Tensor, ...]] = []
        for members in moments.values():
            index = torch.cat(members).to(seen.joints.device)
            parts.append((index, *self._of_moments(views.take(index), seen.take(index), len(members))))
        index, *told = (torch.cat(part) for part in zip(*parts, strict=True))
        back = index.argsort()
        return tuple(points[back] for points in told)

    def _of_moments(self, views: CubeViews, seen: SeenHand, moments: int) -> tuple[Tensor, ...]:
        """Likewise, of moments that were all seen by as many views."""
        count = len(views) // moments
        half_m, parameters, joints = views.half_m[::count], seen.model, seen.joints
        T_view_hand = torch.eye(4, device=half_m.device).expand(len(views), 4, 4)
        if count > 1:
            first = torch.zeros(moments, dtype=torch.long, device=half_m.device)
            T_candidate_view = views.to_candidates(moments, first)
            found = self.model.fuse(seen, T_candidate_view, moments)
            T_view_hand, parameters = torch.linalg.inv(T_candidate_view), found.model
            joints = in_views(found.views.joints, T_view_hand)
        if self.fitting is not None:
            evidence = DepthEvidence.of(views, self.fitting.evidence, generator_for(0, 1))
            parameters = fit_hands(self.hand, parameters, half_m, T_view_hand, evidence, self.fitting)
        mesh = pose_in_views(self.hand, parameters, half_m, T_view_hand)
        return joints, mesh.joints, mesh.vertices


def beside_depth(
    views: CubeViews, vertices_m: Float[Tensor, "B V 3"], faces: Tensor
) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
    """Of meshes in the camera frames: ``apart_m`` and ``explained`` of ``DepthHands``."""
    height, width = views.depth_m.shape[-2:]
    raster = rasterise(vertices_m, faces, views.camera.K, height, width)
    measured = views.foreground()
    apart_m = torch.where(raster.mask & measured, (raster.depth_m - views.depth_m).abs(), torch.nan).flatten(1)
    explained = (apart_m < NEAR_M).sum(1) / measured.flatten(1).sum(1).clamp_min(1)
    return apart_m.nanmedian(1).values, explained


def keypoints_of(predictor: DepthHandPredictor, batch: Observation, hands: DepthHands) -> KeypointSet:
    """The mesh's joints, in pixels of the files as they lie on disk and in millimetres of the camera frame."""
    assert batch.camera is not None
    uv_px = batch.camera.project(hands.joints_m.cpu())
    return KeypointSet(
        key=np.array(batch.key),
        joint_names=skeleton_of(predictor.spec).joints,
        uv_px=file_pixels(uv_px, batch.T_crop_file).numpy(),
        xyz_mm=1000 * hands.joints_m.cpu().numpy(),
        confidence=hands.confidence.cpu().numpy(),
    )


@dataclass(frozen=True)
class MeshSet:
    """Meshes of many frames, camera frame."""

    key: np.ndarray  # (N,)
    vertices_mm: np.ndarray  # (N, V, 3) float32
    pixel_joints_mm: np.ndarray  # (N, J, 3) float32: the joints as the pixels tell them, apart from the mesh
    apart_mm: np.ndarray  # (N,) median difference to the measured depth; NaN where they share no pixel
    faces: np.ndarray  # (F, 3) corners of each face, counter-clockwise as seen from outside

    @classmethod
    def of(cls, predictor: DepthHandPredictor, batch: Observation, hands: DepthHands) -> "MeshSet":
        """Of one batch."""
        arrays = (hands.vertices_m, hands.pixel_joints_m, hands.apart_m)
        vertices_mm, pixel_joints_mm, apart_mm = (1000 * array.cpu().numpy() for array in arrays)
        faces = predictor.hand.faces(torch.device("cpu")).numpy()
        # Left hands are right ones of a mirrored crop: seen from outside, their corners run the other way.
        faces = faces[:, ::-1].copy() if _mirrored(batch) else faces
        return cls(np.array(batch.key), vertices_mm, pixel_joints_mm, apart_mm, faces)

    def __len__(self) -> int:
        return len(self.key)


def join_meshes(parts: Sequence[MeshSet]) -> MeshSet:
    """The meshes of one predictor for several batches as one set."""
    names = ("key", "vertices_mm", "pixel_joints_mm", "apart_mm")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return MeshSet(**arrays, faces=parts[0].faces)


def _mirrored(batch: Observation) -> bool:
    return batch.T_crop_file is not None and bool((torch.linalg.det(batch.T_crop_file[:, :2, :2]) < 0).all())
