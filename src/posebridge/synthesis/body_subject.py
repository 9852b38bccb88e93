"""People as subjects of scenes."""

from dataclasses import dataclass
from functools import lru_cache

import roma
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from posebridge.bodies.anny_body import BodyModel, anny_body
from posebridge.bodies.body_articulation import BodyAngles, pose_body
from posebridge.bodies.shape_distribution import sample_phenotypes
from posebridge.cameras.pinhole import Camera
from posebridge.rendering.rasterise_warp import rasterise
from posebridge.skeletons.body import BODIES
from posebridge.skeletons.skeleton import Skeleton
from posebridge.synthesis.body_domains import BodyDomain
from posebridge.synthesis.body_poses import sample_body_poses
from posebridge.synthesis.body_surface import body_surface
from posebridge.synthesis.outfits import Outfit, sample_outfits
from posebridge.synthesis.subject import PoseShape

# Directions from which the depth of joints below the skin is measured.
_AZIMUTHS, _ELEVATIONS_DEG = 12, (-25.0, 0.0, 25.0)
_VIEW_PX = 256
_QUANTILE, _MARGIN = 0.8, 1.2  # of the depth over all directions; the margin covers folds and heavier bodies
_MIN_DEPTH_M = 0.03
_GROUND_M = -0.9  # height of the ground, which puts the origin near the pelvis of a standing person


@dataclass(frozen=True)
class BodySubject:
    """See ``subject.Subject``. Angles are those of ``bodies.body_articulation.BODY_ANGLE_NAMES``."""

    domain: BodyDomain
    occlusion_radius_m = 0.05

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton named by the domain."""
        return BODIES[self.domain.joints]

    @property
    def model(self) -> BodyModel:
        """Anny's body with the domain's skeleton."""
        return _model(self.domain.joints)

    @property
    def faces(self) -> Int[Tensor, "F 3"]:
        """Vertex indices of the mesh's triangles."""
        return self.model.rig.faces

    @property
    def surface(self) -> Float[Tensor, "V K"]:
        """Columns of ``BodySurface.stacked``, the input of ``Outfit.albedo``."""
        return _surface()

    @property
    def beyond_wrist_m(self) -> None:
        """None: bodies have no hand mask."""
        return None

    @property
    def joint_depth_m(self) -> Float[Tensor, "J"]:
        """Depth of each joint below the skin, measured on the mean adult in the rest pose, metres."""
        return _joint_depth_m(self.domain.joints)

    def sample_pose_shape(self, count: int, generator: Generator) -> PoseShape:
        """Sample shapes, and poses that are plausible for them."""
        phenotypes = sample_phenotypes(self.domain.shapes, count, generator)
        return PoseShape(self.sample_angles(phenotypes, generator), phenotypes)

    def sample_angles(self, phenotypes: Float[Tensor, "B 6"], generator: Generator) -> Float[Tensor, "B A"]:
        """Sample poses that are plausible for the given shapes."""
        coefficients = self.model.shape_coefficients(phenotypes)
        return sample_body_poses(self.domain.poses, self.model, coefficients, generator).values

    def pose_mesh(self, pose_shape: PoseShape) -> tuple[Float[Tensor, "B V 3"], Float[Tensor, "B J 3"]]:
        """Vertices and joints in metres, shifted along y so that the lowest vertex of every body is on the ground."""
        coefficients = self.model.shape_coefficients(pose_shape.phenotypes)
        posed = pose_body(self.model, BodyAngles(pose_shape.angles_rad), coefficients)
        vertices_m = posed.vertices_m()
        raised_m = torch.zeros(len(vertices_m), 1, 3)
        raised_m[:, 0, 1] = _GROUND_M - vertices_m[..., 1].amin(1)
        return vertices_m + raised_m, posed.keypoints_m(vertices_m) + raised_m

    def sample_appearance(self, count: int, generator: Generator) -> Outfit:
        """Sample hair, skin and clothes."""
        return sample_outfits(self.domain.outfits, count, generator)


@lru_cache(maxsize=len(BODIES))
def _model(joints: str) -> BodyModel:
    return anny_body(BODIES[joints])


@lru_cache(maxsize=1)
def _surface() -> Tensor:
    return body_surface().stacked()


@lru_cache(maxsize=len(BODIES))
def _joint_depth_m(joints: str) -> Float[Tensor, "J"]:
    """Depth of joints below the skin in the rest pose, metres: a quantile over directions, with a margin.

    In the rest pose other parts occlude a joint from few directions only, and the quantile ignores those.
    """
    model = _model(joints)
    posed = model.rig.shaped(torch.zeros(1, len(model.rig.vertex_basis_m))).posed(
        torch.eye(3).expand(1, len(model.rig.bones), 3, 3)
    )
    vertices_m = posed.vertices_m()
    R = _directions()
    offset_m = torch.tensor([0.0, 0.0, 20.0])
    focal, middle = 8.0 * _VIEW_PX, (_VIEW_PX - 1) / 2
    K = torch.tensor([[focal, 0, middle], [0, focal, middle], [0, 0, 1]]).repeat(len(R), 1, 1)
    vertices_cam_m = vertices_m @ R.transpose(1, 2) + offset_m
    joints_m = posed.keypoints_m(vertices_m) @ R.transpose(1, 2) + offset_m
    depth_m = rasterise(vertices_cam_m, model.rig.faces, K, _VIEW_PX, _VIEW_PX).depth_m
    column, row = Camera(K).project(joints_m).round().long().unbind(-1)
    surface_m = depth_m[torch.arange(len(R))[:, None], row, column]
    under_m = torch.where(surface_m > 0, joints_m[..., 2] - surface_m, 0.0)
    return (_MARGIN * under_m.quantile(_QUANTILE, dim=0)).clamp(min=_MIN_DEPTH_M)


def _directions() -> Float[Tensor, "D 3 3"]:
    """Rotations camera <- body for all azimuths and elevations."""
    turns = torch.arange(_AZIMUTHS) * (2 * torch.pi / _AZIMUTHS)
    tilts = torch.deg2rad(torch.tensor(_ELEVATIONS_DEG))
    about_y = roma.rotvec_to_rotmat(turns[:, None] * torch.tensor([0.0, 1.0, 0.0]))
    about_x = roma.rotvec_to_rotmat(tilts[:, None] * torch.tensor([1.0, 0.0, 0.0]))
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    return (about_x[:, None] @ facing @ about_y[None]).flatten(0, 1)
