"""Right hands as subjects of scenes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from posebridge.bodies.anny import anny_hand
from posebridge.bodies.hand_articulation import HandAngles, pose_hand
from posebridge.bodies.hand_model import HandModel
from posebridge.bodies.shape_distribution import sample_hand_shapes
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.hand_domains import HandDomain
from posebridge.synthesis.hand_poses import sample_hand_poses
from posebridge.synthesis.hand_surface import beyond_wrist_m, hand_surface
from posebridge.synthesis.skin import Skin, sample_skins
from posebridge.synthesis.subject import PoseShape

JOINT_DEPTH_M = torch.full((len(HAND21),), 0.022)  # exceeds the depth of joints below the skin; palms are 0.03 thick


@dataclass(frozen=True)
class HandSubject:
    """See ``subject.Subject``. Angles are those of ``HandAngles.stacked``."""

    domain: HandDomain
    skeleton = HAND21
    occlusion_radius_m = 0.012

    @property
    def model(self) -> HandModel:
        """Anny's right hand."""
        return anny_hand("right")

    @property
    def faces(self) -> Int[Tensor, "F 3"]:
        """Vertex indices of the mesh's triangles."""
        return self.model.rig.faces

    @property
    def surface(self) -> Float[Tensor, "V 8"]:
        """Columns of ``HandSurface.stacked``, the input of ``Skin.albedo``."""
        return hand_surface().stacked()

    @property
    def beyond_wrist_m(self) -> Float[Tensor, "V"]:
        """Signed distance of each vertex from the wrist, metres, negative on the forearm."""
        return beyond_wrist_m(self.model)

    @property
    def joint_depth_m(self) -> Float[Tensor, "21"]:
        """22 mm for all joints."""
        return JOINT_DEPTH_M

    def sample_pose_shape(self, count: int, generator: Generator) -> PoseShape:
        """Sample poses and shapes."""
        angles = sample_hand_poses(self.domain.poses, count, generator)
        return PoseShape(angles.stacked(), sample_hand_shapes(self.domain.shapes, count, generator))

    def sample_angles(self, phenotypes: Float[Tensor, "B 11"], generator: Generator) -> Float[Tensor, "B 22"]:
        """Sample poses, which do not depend on the shape."""
        return sample_hand_poses(self.domain.poses, len(phenotypes), generator).stacked()

    def pose_mesh(self, pose_shape: PoseShape) -> tuple[Float[Tensor, "B V 3"], Float[Tensor, "B 21 3"]]:
        """Vertices and joints in the hand's frame, metres."""
        angles = HandAngles.from_stacked(pose_shape.angles_rad)
        posed = pose_hand(self.model, angles, self.model.shape_coefficients(pose_shape.phenotypes))
        vertices_m = posed.vertices_m()
        return vertices_m, posed.keypoints_m(vertices_m)

    def sample_appearance(self, count: int, generator: Generator) -> Skin:
        """Sample skins and sleeves."""
        return sample_skins(self.domain.skin, count, generator)
