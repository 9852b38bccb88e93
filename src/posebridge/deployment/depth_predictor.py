"""From a depth hand model to hands in metres: of each crop by itself, or of all views of a moment together."""

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.joint_maps import JointMap, joint_map
from posebridge.bodies.parametric_hand import RiggedHand, hand_meshes_in_views, load_parametric_hand
from posebridge.cameras.multiview import transform_to_views
from posebridge.contracts.batch import Observation
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.cube_views import CubeViews
from posebridge.data.multiview_stream import moments_of
from posebridge.deployment.mesh_set import MeshSet
from posebridge.deployment.model_spec import DepthHandSpec
from posebridge.deployment.predictor import Predictor, check_finite, file_pixels
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.fitting.depth_misfit import DepthEvidence
from posebridge.fitting.hand_fitting import HandFittingConfig, fit_hands
from posebridge.networks.depth_hand import ViewPrediction
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.rendering.rasterise_warp import rasterise
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton

NEAR_M = 0.01  # a mesh explains a measurement that differs from its own depth by less


@dataclass(frozen=True)
class DepthHands:
    """B hands in the camera frames of their crops, in metres."""

    joints_m: Float[Tensor, "B J 3"]  # of the mesh
    confidence: Float[Tensor, "B J"]  # in [0, 1]
    pixel_joints_m: Float[Tensor, "B J 3"]  # of the pixel-wise head, which no hand model constrains
    vertices_m: Float[Tensor, "B V 3"]
    depth_error_m: Float[Tensor, "B"]  # median difference of mesh and measurement in the cube; NaN without overlap
    explained_frac: Float[Tensor, "B"]  # fraction of the measurements in the cube within a centimetre of the mesh


@runtime_checkable
class MeshPredictor(Predictor, Protocol):
    """A predictor that returns meshes besides keypoints."""

    def predict_meshes(self, batch: Observation) -> tuple[KeypointSet, MeshSet]:
        """Keypoints as ``predict_batch`` returns them, with the meshes of the same frames."""
        ...


@runtime_checkable
class HandPredictor(Protocol):
    """A predictor of hands with meshes."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        ...

    def __call__(self, batch: Observation, fused: bool = True) -> DepthHands:
        """Hands of a batch of crops on ``device``, see ``DepthHandPredictor``."""
        ...


@dataclass(frozen=True)
class DepthHandPredictor:
    """Predicts joints and meshes with a depth hand model."""

    spec: DepthHandSpec
    model: DepthHandModel
    mano: Path | None = None  # MANO's file, for a model of that hand
    fitting: HandFittingConfig | None = None  # moves each hand to explain its depth; None: hands as predicted
    skeleton: Skeleton = HAND21  # of keypoints and mesh files; calls return the joints of ``HAND21``

    def __post_init__(self):
        """Raises ``InputError`` where the model's hand needs a file that isn't given, or takes none."""
        if self.spec.hand == "mano" and self.mano is None:
            raise InputError("this model predicts MANO's hands: give --mano MANO_RIGHT.pkl")
        if self.spec.hand == "anny" and self.mano is not None:
            raise InputError("this model predicts Anny's hands: leave --mano out")

    @cached_property
    def hand(self) -> RiggedHand:
        """The hand whose parameters the model predicts."""
        return load_parametric_hand(self.mano, self.spec.network.shape_size)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the J joints of keypoints, in their order."""
        return self.skeleton.joints

    @cached_property
    def joint_map(self) -> JointMap:
        """From a predicted hand to the joints of ``skeleton``."""
        return joint_map(self.hand.model(torch.device("cpu")), self.skeleton)

    def with_output_joints(self, hands: DepthHands) -> DepthHands:
        """Hands as this predictor's call returns them, with the joints of ``skeleton`` instead of ``HAND21``'s.

        Pixel-wise joints get the offsets of the mesh, see ``JointMap``.
        """
        return replace(
            hands,
            joints_m=self.joint_map(hands.joints_m, hands.vertices_m),
            pixel_joints_m=self.joint_map(hands.pixel_joints_m, hands.vertices_m),
            confidence=self.joint_map.confidence(hands.confidence),
        )

    def on_device(self, device: torch.device | str) -> "DepthHandPredictor":
        """The same predictor with its model moved to a device."""
        return replace(self, model=self.model.to(device))

    def predict_batch(self, batch: Observation) -> KeypointSet:
        """The meshes' joints of a batch on any device, as ``keypoints_of``; calibrated views of a moment as one hand.

        Raises ``InputError`` for a batch of what the model doesn't read.
        """
        return keypoints_of(self, batch, self.with_output_joints(self._hands_of(batch)))

    def predict_meshes(self, batch: Observation) -> tuple[KeypointSet, MeshSet]:
        """Keypoints as ``predict_batch`` returns them, with the meshes of the same frames."""
        hands = self.with_output_joints(self._hands_of(batch))
        return keypoints_of(self, batch, hands), self.mesh_set(batch, hands)

    def mesh_set(self, batch: Observation, hands: DepthHands) -> MeshSet:
        """The meshes of a batch, from its hands."""
        arrays = (hands.vertices_m, hands.pixel_joints_m, hands.depth_error_m)
        vertices_mm, pixel_joints_mm, depth_error_mm = (1000 * array.cpu().numpy() for array in arrays)
        faces = self.hand.faces(torch.device("cpu")).numpy()
        # Left hands are right ones of a mirrored crop: seen from outside, their corners run the other way.
        faces = faces[:, ::-1].copy() if _mirrored(batch) else faces
        return MeshSet(np.array(batch.key), vertices_mm, pixel_joints_mm, depth_error_mm, faces)

    def _hands_of(self, batch: Observation) -> DepthHands:
        if batch.depth_m is None or batch.camera is None or batch.centre_m is None:
            raise InputError(f"{batch.key[0]}: this model reads depth crops with intrinsics and the cube's centre")
        return self(batch.to(self.device))

    @torch.no_grad()
    def __call__(self, batch: Observation, fused: bool = True) -> DepthHands:
        """Hands of a batch of crops. With ``fused``, calibrated views of one moment give one hand.

        Raises ``ValueError`` for a batch without depth, intrinsics or centres, and ``InputError`` for output that is
        not finite.
        """
        views = CubeViews.of(batch, self.spec.cube_m)
        network = self.model.single
        seen = network(views.picture(), *views.points(network.map_stride))[-1]
        in_cubes = self._hands(batch, views, seen, fused and batch.T_world_cam is not None)
        check_finite(batch.key, *in_cubes)
        pixel_joints_m, joints_m, vertices_m = (views.in_cameras(points) for points in in_cubes)
        depth_error_m, explained_frac = depth_fit(views, vertices_m, self.hand.faces(views.depth_m.device))
        return DepthHands(joints_m, seen.confidence(), pixel_joints_m, vertices_m, depth_error_m, explained_frac)

    def _hands(self, batch: Observation, views: CubeViews, seen: ViewPrediction, fused: bool) -> tuple[Tensor, ...]:
        """Joints of the pixel-wise head, joints and vertices of meshes, in each view's cube.

        With ``fused``, all views of a moment have one hand.
        """
        if not fused:
            return self._of_moments(views, seen, len(batch))
        moments = defaultdict[int, list[Tensor]](list)
        for own in moments_of(batch):
            moments[len(own)].append(own)
        parts: list[tuple[Tensor, ...]] = []
        for members in moments.values():
            index = torch.cat(members).to(seen.joints.device)
            parts.append((index, *self._of_moments(views.take(index), seen.take(index), len(members))))
        index, *points_of_parts = (torch.cat(part) for part in zip(*parts, strict=True))
        order = index.argsort()
        return tuple(points[order] for points in points_of_parts)

    def _of_moments(self, views: CubeViews, seen: ViewPrediction, moments: int) -> tuple[Tensor, ...]:
        """As ``_hands``, of moments that all have the same number of views."""
        count = len(views) // moments
        half_m, parameters, joints = views.half_m[::count], seen.hand, seen.joints
        T_view_hand = torch.eye(4, device=half_m.device).expand(len(views), 4, 4)
        if count > 1:
            first = torch.zeros(moments, dtype=torch.long, device=half_m.device)
            T_candidate_view = views.to_candidates(moments, first)
            found = self.model.fuse(seen, T_candidate_view, moments)
            T_view_hand, parameters = torch.linalg.inv(T_candidate_view), found.hand
            joints = transform_to_views(found.fusion.joints, T_view_hand)
        if self.fitting is not None:
            evidence = DepthEvidence.from_views(views, self.fitting.evidence, generator_for(0, 1))
            parameters = fit_hands(self.hand, parameters, half_m, T_view_hand, evidence, self.fitting)
        mesh = hand_meshes_in_views(self.hand, parameters, half_m, T_view_hand)
        return joints, mesh.joints, mesh.vertices


def depth_fit(
    views: CubeViews, vertices_m: Float[Tensor, "B V 3"], faces: Tensor
) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
    """``depth_error_m`` and ``explained_frac`` of ``DepthHands``, of meshes (B, V, 3) in the camera frames."""
    height, width = views.depth_m.shape[-2:]
    raster = rasterise(vertices_m, faces, views.camera.K, height, width)
    measured = views.foreground()
    error_m = torch.where(raster.mask & measured, (raster.depth_m - views.depth_m).abs(), torch.nan).flatten(1)
    explained_frac = (error_m < NEAR_M).sum(1) / measured.flatten(1).sum(1).clamp_min(1)
    return error_m.nanmedian(1).values, explained_frac


def keypoints_of(predictor: DepthHandPredictor, batch: Observation, hands: DepthHands) -> KeypointSet:
    """The mesh's joints, in pixels of the files as they lie on disk and in millimetres of the camera frame.

    ``hands`` has the joints of ``predictor.skeleton``, see ``with_output_joints``.
    """
    assert batch.camera is not None
    uv_px = batch.camera.project(hands.joints_m.cpu())
    return KeypointSet(
        key=np.array(batch.key),
        joint_names=predictor.joint_names,
        uv_px=file_pixels(uv_px, batch.T_crop_file).numpy(),
        xyz_mm=1000 * hands.joints_m.cpu().numpy(),
        confidence=hands.confidence.cpu().numpy(),
    )


def _mirrored(batch: Observation) -> bool:
    return batch.T_crop_file is not None and bool((torch.linalg.det(batch.T_crop_file[:, :2, :2]) < 0).all())
