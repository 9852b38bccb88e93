"""Anny's own forward pass, as an oracle for our rigs."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from posebridge.bodies.anny import AnnyHandModel
from posebridge.bodies.anny_loading import AnnyModel


def random_rotations(count: int, bones: int, degrees: float, seed: int) -> torch.Tensor:
    """Random rotation matrices of B x N bones, drawn and converted by numpy and scipy."""
    vectors = np.deg2rad(degrees) * np.random.default_rng(seed).normal(size=(count * bones, 3)) / np.sqrt(3)
    return torch.tensor(Rotation.from_rotvec(vectors).as_matrix()).float().view(count, bones, 3, 3)


def phenotypes(count: int, seed: int) -> torch.Tensor:
    """Random phenotypes of all ages."""
    return torch.tensor(np.random.default_rng(seed).uniform(size=(count, 6))).float()


def anny_vertices(
    model: AnnyModel | AnnyHandModel, subjects: torch.Tensor, R_world_rest: torch.Tensor, bones: list[str]
):
    """Vertices posed by Anny, in Anny's axes about the first of the named bones.

    ``R_world_rest`` are global rotations of the named bones in Anny's axes; that of the first includes its parents'.
    """
    anny = model.phenotype_model
    values = dict(zip(("gender", "age", "muscle", "weight", "height", "proportions"), subjects.T.double(), strict=True))
    coefficients = anny.get_phenotype_blendshape_coefficients(**values)
    rest = anny.get_rest_model(coefficients)
    poses = rest["rest_bone_poses"].clone()
    first, count = anny.bone_labels.index(bones[0]), len(bones)
    assert anny.bone_labels[first : first + count] == bones
    poses[:, :first, :3, :3] = R_world_rest[:, :1].double() @ poses[:, :first, :3, :3]
    poses[:, first : first + count, :3, :3] = R_world_rest.double() @ poses[:, first : first + count, :3, :3]
    posed = anny(pose_parameters=poses, phenotype_kwargs=values, pose_parameterization="world-orient")
    return posed["vertices"] - posed["bone_poses"][:, first, None, :3, 3]
