"""Time of joint angles and pose correction, and errors of noisy poses before and after correction.

    python benchmarks/biomechanics.py

Limits are fitted to poses of studio; noise is added to poses of street. Times are the fastest of several repeats of
one run: compare the ratio, not the milliseconds.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from posebridge.draw import chance, generator_for, normal
from posebridge.geometry.biomechanics import pose_from_angles
from posebridge.geometry.joint_limits import CorrectionConfig, JointLimits, correct_poses
from posebridge.geometry.kinematics import Kinematics, bone_bases
from posebridge.skeletons.body import BODIES
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.kinematics import kinematics_of
from posebridge.synthesis.body_domains import BODY_DOMAINS
from posebridge.synthesis.domains import subject_of
from posebridge.synthesis.hand_domains import HAND_DOMAINS


@dataclass(frozen=True)
class Options:
    """Measure joint angles and corrections."""

    poses: int = 1000
    """Poses of each measurement."""

    threads: int = 2
    """CPU threads."""

    skeletons: tuple[str, ...] = ("hand21", "h36m17", "smpl24")
    """Skeletons whose poses are corrected."""

    out: Path | None = None
    """File for the tables in Markdown, which are also printed."""


@dataclass(frozen=True)
class Noise:
    """Noise of joints, as fractions of a pose's diagonal. The root has a third of it, the depth axis twice as much."""

    everywhere: float
    wrong_share: float  # of joints
    wrong: float


NOISES = {
    "2% everywhere": Noise(0.02, 0.0, 0.0),
    "2%, and 10% on one joint in 20": Noise(0.02, 0.05, 0.1),
    "2%, and 20% on one joint in 7": Noise(0.02, 0.15, 0.2),
}


def source_poses(name: str, domain: str, count: int) -> Float[Tensor, "N J 3"]:
    """Joints of poses of a domain in metres; ``name`` is the skeleton's."""
    chosen = HAND_DOMAINS[domain] if name == HAND21.name else replace(BODY_DOMAINS[domain], joints=name)
    subject = subject_of(chosen)
    parts = []
    for start in range(0, count, 256):
        parts.append(
            subject.pose_mesh(subject.sample_pose_shape(min(256, count - start), generator_for(0, start + 1)))[1]
        )
    return torch.cat(parts)


def best_ms(function: Callable[[], object], repeats: int) -> float:
    """Milliseconds of the fastest of several calls, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def unit(vector: NDArray) -> NDArray:
    """The vector at length 1."""
    return vector / np.linalg.norm(vector)


def angles_of_one(points: NDArray, kinematics: Kinematics, bases: NDArray) -> list[list[float]]:
    """Angles of one pose in radians, bone by bone: the plain loop that ``JointLimits.angles`` agrees with."""
    (a, b), (c, d) = ([points[list(side)].mean(0) for side in axis] for axis in (kinematics.along, kinematics.across))
    y = unit(b - a)
    x = unit(d - c - ((d - c) @ y) * y)
    frames, angles = {kinematics.root: np.stack([x, y, np.cross(x, y)])}, []
    for bone, joint in enumerate(kinematics.end_joints):  # a hand's joints come after their parents
        parent = kinematics.parents[joint]
        direction = frames[parent] @ unit(points[joint] - points[parent])
        neutral, flexed, abducted = bases[bone]
        axis = np.cross(neutral, direction)
        sine = max(float(np.linalg.norm(axis)), 1e-12)
        angle = math.atan2(sine, neutral @ direction)
        angles.append([angle / sine * float(direction @ flexed), angle / sine * float(direction @ abducted)])
        k = axis / sine
        cross = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
        rotation = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross  # Rodrigues
        frames[joint] = rotation.T @ frames[parent] if joint in kinematics.moving else frames[parent]
    return angles


def measure_times(poses: int) -> list[str]:
    """Lines of the table of times. Raises ``RuntimeError`` where the loop's angles differ."""
    kinematics = kinematics_of(HAND21)
    joints = source_poses("hand21", "studio", poses)
    limits = JointLimits.from_poses(joints, kinematics, HAND21.reference)
    fast = limits.angles(joints).angles_rad.numpy()
    axes, points = bone_bases(limits.neutral).double().numpy(), joints.double().numpy()
    loop = np.array([angles_of_one(pose, kinematics, axes) for pose in points])
    if abs(loop - fast).max() > 1e-4:
        raise RuntimeError(f"the loop's angles differ by {abs(loop - fast).max()} rad")
    with torch.no_grad():
        loop_ms = best_ms(lambda: [angles_of_one(pose, kinematics, axes) for pose in points], 2)
        angles_ms = best_ms(lambda: limits.angles(joints), 300)
        correct_ms = best_ms(lambda: correct_poses(joints, limits), 30)
        fit_ms = best_ms(lambda: JointLimits.from_poses(joints, kinematics, HAND21.reference), 3)
    return [
        f"| {poses} hands, {torch.get_num_threads()} threads | ms |",
        "|---|---|",
        f"| joint angles, a loop over hands and bones | {loop_ms:.0f} |",
        f"| joint angles | {angles_ms:.2f} ({loop_ms / angles_ms:.0f} times faster) |",
        f"| correction of lengths and angles | {correct_ms:.1f} |",
        f"| limits fitted to these hands | {fit_ms:.0f} |",
    ]


def with_noise(joints: Float[Tensor, "N J 3"], noise: Noise) -> Float[Tensor, "N J 3"]:
    """Joints with noise, the same at each call."""
    generator = generator_for(1, 1)
    added = normal(generator, noise.everywhere, *joints.shape)
    wrong = chance(generator, noise.wrong_share, *joints.shape[:2], 1)
    added = added + wrong * normal(generator, noise.wrong, *joints.shape)
    added[..., 2] *= 2
    added[:, 0] /= 3
    return joints + diagonal(joints)[..., None] * added


def diagonal(joints: Float[Tensor, "N J 3"]) -> Float[Tensor, "N 1"]:
    """Diagonal of each pose's bounding box."""
    return (joints.amax(1) - joints.amin(1)).norm(dim=-1, keepdim=True)


def clamped_forward(joints: Float[Tensor, "N J 3"], limits: JointLimits) -> Float[Tensor, "N J 3"]:
    """The other greedy rule: clamp the angles of the predicted pose, then apply forward kinematics."""
    pose = limits.angles(joints)
    scale = (pose.lengths / limits.lengths).median(-1, keepdim=True).values
    pose = replace(pose, angles_rad=limits.clamp(pose.angles_rad), lengths=scale * limits.lengths)
    return pose_from_angles(pose, limits.kinematics, limits.neutral, joints[:, limits.kinematics.root])


def measure_errors(options: Options) -> list[str]:
    """Lines of the table of mean errors in percent of the diagonal: all joints, and those off by more than 15%."""
    lines = [
        "| error in % of the diagonal: all joints, those off by more than 15 | noisy | lengths | angles | both "
        "| both, angles clamped before |",
        "|---|---|---|---|---|---|",
    ]
    for name in options.skeletons:
        skeleton = HAND21 if name == HAND21.name else BODIES[name]
        limits = JointLimits.from_poses(source_poses(name, "studio", 2048), kinematics_of(skeleton), skeleton.reference)
        joints = source_poses(name, "street", options.poses)
        for label, noise in NOISES.items():
            noisy = with_noise(joints, noise)
            far = (noisy - joints).norm(dim=-1) > 0.15 * diagonal(joints)
            cells = []
            for pose in (
                noisy,
                correct_poses(noisy, limits, correction=CorrectionConfig(angles=False)),
                correct_poses(noisy, limits, correction=CorrectionConfig(lengths=False)),
                correct_poses(noisy, limits),
                clamped_forward(noisy, limits),
            ):
                error = 100 * (pose - joints).norm(dim=-1) / diagonal(joints)
                cells.append(f"{error.mean():.1f}, {error[far].mean():.1f}")
            lines.append(f"| {name}, {label} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    options = tyro.cli(Options)
    torch.set_num_threads(options.threads)
    text = "\n".join([*measure_times(options.poses), "", *measure_errors(options), ""])
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
