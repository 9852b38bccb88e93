"""Interface between a scene and its subjects: hands or bodies."""

from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float, Int
from torch import Generator, Tensor

from posebridge.cameras.pinhole import Camera
from posebridge.skeletons.skeleton import Skeleton
from posebridge.synthesis.scene_domain import SceneDomain


class SurfaceAppearance(Protocol):
    """Sampled skin or clothes of B subjects; a dataclass of tensors (B, ...)."""

    def albedo(self, surface: Float[Tensor, "N K"], sample: Int[Tensor, "N"]) -> Float[Tensor, "N 3"]:
        """Linear RGB of N surface points.

        ``surface`` is ``Subject.surface`` interpolated at the points; ``sample`` is the index in [0, B) of each point's
        subject.
        """
        ...


@dataclass(frozen=True)
class PoseShape:
    """Sampled pose and shape of B subjects."""

    angles_rad: Float[Tensor, "B A"]
    phenotypes: Float[Tensor, "B P"]  # order of ``HAND_SHAPE_NAMES``, or of ``PHENOTYPES`` for bodies


class Subject(Protocol):
    """A kind of subject, with the distributions of one domain."""

    @property
    def domain(self) -> SceneDomain:
        """Distributions of shape, viewpoint, light, background, occluders, sensor and motion."""
        ...

    @property
    def skeleton(self) -> Skeleton:
        """Skeleton of the labelled joints."""
        ...

    @property
    def occlusion_radius_m(self) -> float:
        """Largest distance at which surfaces occlude each other's ambient light, metres."""
        ...

    @property
    def faces(self) -> Int[Tensor, "F 3"]:
        """Vertex indices of the mesh's triangles."""
        ...

    @property
    def surface(self) -> Float[Tensor, "V K"]:
        """Per-vertex inputs of ``SurfaceAppearance.albedo``."""
        ...

    @property
    def beyond_wrist_m(self) -> Float[Tensor, "V"] | None:
        """Signed distance of a hand's vertices from the wrist, metres, negative on the forearm; None for bodies."""
        ...

    @property
    def joint_depth_m(self) -> Float[Tensor, "J"]:
        """Largest depth of each visible joint below the surface in front of it, metres."""
        ...

    def sample_pose_shape(self, count: int, generator: Generator) -> PoseShape:
        """Sample poses and shapes."""
        ...

    def sample_angles(self, phenotypes: Float[Tensor, "B P"], generator: Generator) -> Float[Tensor, "B A"]:
        """Sample poses for given shapes. Any interpolation of two poses stays within the joint limits."""
        ...

    def pose_mesh(self, pose_shape: PoseShape) -> tuple[Float[Tensor, "B V 3"], Float[Tensor, "B J 3"]]:
        """Vertices and joints in the subject's frame, metres: y up, z to the subject's front."""
        ...

    def sample_appearance(self, count: int, generator: Generator) -> SurfaceAppearance:
        """Sample skin or clothes."""
        ...


@dataclass(frozen=True)
class PlacedSubjects:
    """B subjects in the camera frame, metres."""

    vertices_m: Float[Tensor, "B V 3"]
    joints_m: Float[Tensor, "B J 3"]
    camera: Camera


def transform_points(
    R_cam_subject: Float[Tensor, "B 3 3"], t_m: Float[Tensor, "B 3"], points_m: Float[Tensor, "B N 3"]
) -> Float[Tensor, "B N 3"]:
    """Transform points from each subject's frame into the camera frame."""
    return points_m @ R_cam_subject.transpose(1, 2) + t_m[:, None]
