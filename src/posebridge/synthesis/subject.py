"""What a scene asks of the kind of thing that it shows, be it a hand or a body."""

from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float, Int
from torch import Generator, Tensor

from posebridge.cameras.pinhole import Camera
from posebridge.skeletons.skeleton import Skeleton
from posebridge.synthesis.scene_domain import SceneDomain


class SurfaceAppearance(Protocol):
    """The drawn skins or clothes of B subjects; a dataclass of tensors (B, ...)."""

    def albedo(self, surface: Float[Tensor, "N K"], sample: Int[Tensor, "N"]) -> Float[Tensor, "N 3"]:
        """Linear RGB of N points, given ``Subject.surface`` interpolated there and which of the B subjects each has."""
        ...


@dataclass(frozen=True)
class PoseShape:
    """Drawn pose and shape of B subjects."""

    angles_rad: Float[Tensor, "B A"]
    phenotypes: Float[Tensor, "B 6"]


class Subject(Protocol):
    """A kind of subject with the distributions of one domain."""

    @property
    def domain(self) -> SceneDomain:
        """What surrounds the subject, and how it is seen."""
        ...

    @property
    def skeleton(self) -> Skeleton:
        """What its joints are."""
        ...

    @property
    def occlusion_radius_m(self) -> float:
        """How far apart surfaces still darken each other."""
        ...

    @property
    def faces(self) -> Int[Tensor, "F 3"]:
        """Corners of the mesh's faces."""
        ...

    @property
    def surface(self) -> Float[Tensor, "V K"]:
        """What a coat is told about each vertex."""
        ...

    @property
    def beyond_wrist_m(self) -> Float[Tensor, "V"] | None:
        """How far each vertex of a hand lies beyond its wrist, negative on the forearm; None for other subjects."""
        ...

    @property
    def joint_depth_m(self) -> Float[Tensor, "J"]:
        """How far below the skin in view a joint may lie and not count as hidden."""
        ...

    def sample_pose_shape(self, count: int, generator: Generator) -> PoseShape:
        """Draw poses and shapes."""
        ...

    def sample_angles(self, phenotypes: Float[Tensor, "B 6"], generator: Generator) -> Float[Tensor, "B A"]:
        """Draw further poses of given shapes. A blend of two poses is within limits again."""
        ...

    def pose_mesh(self, pose_shape: PoseShape) -> tuple[Float[Tensor, "B V 3"], Float[Tensor, "B J 3"]]:
        """Vertices and joints in the subject's own frame: y up, z towards whoever it faces, metres."""
        ...

    def sample_appearance(self, count: int, generator: Generator) -> SurfaceAppearance:
        """Draw skins or clothes."""
        ...


@dataclass(frozen=True)
class PlacedSubjects:
    """B subjects in the camera frame."""

    vertices_m: Float[Tensor, "B V 3"]
    joints_m: Float[Tensor, "B J 3"]
    camera: Camera


def transform_points(
    R_cam_subject: Float[Tensor, "B 3 3"], t_m: Float[Tensor, "B 3"], points_m: Float[Tensor, "B N 3"]
) -> Float[Tensor, "B N 3"]:
    """Points of each subject's own frame in the camera frame."""
    return points_m @ R_cam_subject.transpose(1, 2) + t_m[:, None]
