"""Poses of rendered sources, without their pictures."""

from dataclasses import replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

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
    chosen = HAND_DOMAINS[domain] if skeleton == HAND21.name else replace(BODY_DOMAINS[domain], joints=skeleton)
    subject = subject_of(chosen)
    return subject.pose_mesh(subject.sample_pose_shape(count, generator_for(seed, 1)))[1]


def mirrored(joints: Tensor, skeleton: Skeleton) -> Tensor:
    """The mirror image, with left and right joints exchanged."""
    return joints[:, list(skeleton.mirror)] * torch.tensor([-1.0, 1.0, 1.0]).to(joints)
