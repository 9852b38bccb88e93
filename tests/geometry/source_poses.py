"""Poses of rendered sources, without images."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.anny_body import anny_body
from posebridge.bodies.body_articulation import BodyAngles, pose_body
from posebridge.draw import generator_for
from posebridge.skeletons.body import BODIES
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton
from posebridge.synthesis.body_domains import BODY_DOMAINS
from posebridge.synthesis.domains import subject_of
from posebridge.synthesis.hand_domains import HAND_DOMAINS

SKELETONS = {skeleton.name: skeleton for skeleton in (HAND21, *BODIES.values())}


@lru_cache
def source_poses(skeleton: str, domain: str = "studio", count: int = 256, seed: int = 0) -> Float[Tensor, "N J 3"]:
    """Joints of the domain's subjects, in their own frames, metres."""
    if skeleton != HAND21.name:
        return _body_poses(domain, count, seed)[skeleton]
    subject = subject_of(HAND_DOMAINS[domain])
    return subject.pose_mesh(subject.sample_pose_shape(count, generator_for(seed, 1)))[1]


@lru_cache
def _body_poses(domain: str, count: int, seed: int) -> dict[str, Float[Tensor, "N J 3"]]:
    """Joints of the same people in the order of every skeleton. Posing takes most of the time and is done once."""
    people = subject_of(BODY_DOMAINS[domain]).sample_pose_shape(count, generator_for(seed, 1))
    models = {name: anny_body(skeleton) for name, skeleton in BODIES.items()}
    model = models[BODY_DOMAINS[domain].joints]
    posed = pose_body(model, BodyAngles(people.angles_rad), model.shape_coefficients(people.phenotypes))
    vertices_m = posed.vertices_m()
    return {name: model.rig.keypoints_of(posed.heads_m, vertices_m) for name, model in models.items()}


def mirrored(joints: Tensor, skeleton: Skeleton) -> Tensor:
    """The mirror image, with left and right joints exchanged."""
    return joints[:, list(skeleton.mirror)] * torch.tensor([-1.0, 1.0, 1.0]).to(joints)
