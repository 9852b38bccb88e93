"""Plausible body poses: everyday poses, recombinations of them, and noise, tested on the given body.

Several candidates are sampled; the first without self-penetration and loss of balance is used.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from posebridge.bodies.anny_body import BodyModel
from posebridge.bodies.body_articulation import BODY_ANGLE_LIMITS_DEG, BODY_ANGLE_NAMES, BodyAngles
from posebridge.draw import chance, choice, normal, uniform
from posebridge.errors import InputError
from posebridge.synthesis.body_capsules import posed_capsules
from posebridge.synthesis.body_plausibility import penetration_m, support_margin_m
from posebridge.synthesis.everyday_poses import EVERYDAY_POSES, EXTERNALLY_SUPPORTED

_COLUMN = {name: i for i, name in enumerate(BODY_ANGLE_NAMES)}
_ARM = ("shoulder", "elbow", "forearm", "wrist", "index", "fingers", "thumb")
_NOISE_SCALE = {  # factor on the standard deviation, by part; 1 for other parts
    "pelvis": 0.4,
    "spine": 0.7,
    "neck": 1.5,
    "hip": 0.5,
    "ankle": 0.3,
    "toes": 0.5,
    "forearm": 2.0,
    "fingers": 2.0,
}


@dataclass(frozen=True)
class BodyPoseDistribution:
    """Distribution of body poses: everyday poses, random articulation, noise and plausibility."""

    pose_weights: dict[str, float] | None = None  # by name; None: uniform
    random_share: float = 0.3  # fraction of samples with random articulation instead of an everyday pose
    blend: float = 0.3  # largest interpolation factor from an everyday pose to a random articulation
    noise_deg: float = 6.0  # standard deviation
    candidates: int = 5  # per sample; the first plausible one is used, or else the least implausible one
    balance_share: float = 0.9  # fraction of self-supported samples that must be balanced
    overlap_tolerance_m: float = 0.03  # allowed penetration, as in crossed arms or hands on hips


def sample_body_poses(
    distribution: BodyPoseDistribution, model: BodyModel, coefficients: Float[Tensor, "B S"], generator: Generator
) -> BodyAngles:
    """Sample one pose for each of B shapes. Raises ``InputError`` for a weight of an unknown pose."""
    B, K = len(coefficients), distribution.candidates
    drawn = choice(generator, _weights(distribution), B).repeat_interleave(K)
    random, random_is_supported = _random_articulation(drawn, generator)
    free = chance(generator, distribution.random_share, B).repeat_interleave(K)
    blend = torch.where(free, 1.0, uniform(generator, 0.0, distribution.blend, B * K))
    values = torch.lerp(_everyday().values[drawn], random, blend[:, None])
    values = _mirror_randomly(values + _sample_noise(distribution.noise_deg, B * K, generator), generator)
    angles = BodyAngles(values).clamped()
    must_balance = ~torch.where(free, random_is_supported, _is_supported()[drawn])
    must_balance &= chance(generator, distribution.balance_share, B).repeat_interleave(K)
    excess_m = implausibility_m(model, angles, coefficients, must_balance, distribution.overlap_tolerance_m).unflatten(
        0, (B, K)
    )
    order = torch.where(excess_m > 0, excess_m, torch.arange(-K, 0))  # plausible candidates sort first, in their order
    return BodyAngles(angles.values.unflatten(0, (B, K))[torch.arange(B), order.argmin(1)])


def implausibility_m(
    model: BodyModel,
    angles: BodyAngles,
    coefficients: Float[Tensor, "B S"],
    must_balance: Bool[Tensor, "BK"],
    overlap_tolerance_m: float,
) -> Float[Tensor, "BK"]:
    """Penetration beyond ``overlap_tolerance_m`` plus imbalance of poses that must balance, metres; 0 is plausible.

    ``angles`` holds B K poses, the K poses of each body adjacent.
    """
    bodies = posed_capsules(model, angles, coefficients)
    excess_m = (penetration_m(bodies).amax(1) - overlap_tolerance_m).clamp_min(0)
    return excess_m + torch.where(must_balance, -support_margin_m(bodies), 0.0).clamp_min(0)


def _weights(distribution: BodyPoseDistribution) -> tuple[float, ...]:
    weights = distribution.pose_weights or dict.fromkeys(EVERYDAY_POSES, 1.0)
    if unknown := sorted(set(weights) - set(EVERYDAY_POSES)):
        raise InputError(f"no everyday pose is called {unknown[0]!r}; known are {', '.join(EVERYDAY_POSES)}")
    return tuple(weights.get(name, 0.0) for name in EVERYDAY_POSES)


@lru_cache(maxsize=1)
def _everyday() -> BodyAngles:
    return BodyAngles.from_degrees(list(EVERYDAY_POSES.values())).clamped()


@lru_cache(maxsize=1)
def _is_supported() -> Bool[Tensor, "P"]:
    return torch.tensor([name in EXTERNALLY_SUPPORTED for name in EVERYDAY_POSES])


def _random_articulation(
    drawn: Int[Tensor, "B"], generator: Generator
) -> tuple[Float[Tensor, "B A"], Bool[Tensor, "B"]]:
    """Recombine everyday poses; also return which poses are externally supported.

    Trunk and legs are interpolated between two poses; each arm and the head come from further ones. A pose whose pelvis
    is oriented otherwise than in the everyday pose ``drawn`` lends no trunk or legs, so that no pose floats. Arms are
    interpolated towards uniform angles within their limits by a random factor.
    """
    count, everyday = len(drawn), _everyday()

    def poses() -> tuple[Tensor, Tensor]:
        index = torch.randint(len(EVERYDAY_POSES), (count,), generator=generator)
        return _mirror_randomly(everyday.values[index], generator), index

    def bodies() -> tuple[Tensor, Tensor]:
        (body, index), base = poses(), everyday.values[drawn]
        matches = (_pelvis_orientation(body) == _pelvis_orientation(base)).all(1)
        return torch.where(matches[:, None], body, base), torch.where(matches, index, drawn)

    (body, index), (other, _) = bodies(), bodies()
    values = torch.lerp(body, other, uniform(generator, 0.0, 0.4, count, 1))
    low, high = torch.deg2rad(torch.tensor(list(BODY_ANGLE_LIMITS_DEG.values()))).unbind(-1)
    anywhere = torch.lerp(low, high, uniform(generator, 0.1, 0.9, count, len(BODY_ANGLE_NAMES)))
    share = uniform(generator, 0.0, 1.0, count, 2) ** 2
    for i, side in enumerate(("left", "right")):
        columns = [
            _COLUMN[name] for name in BODY_ANGLE_NAMES if name.startswith(tuple(f"{side}_{part}" for part in _ARM))
        ]
        values[:, columns] = torch.lerp(poses()[0], anywhere, share[:, i, None])[:, columns]
    neck = [_COLUMN[name] for name in BODY_ANGLE_NAMES if name.startswith("neck")]
    values[:, neck] = torch.lerp(poses()[0], anywhere, 0.4 * share[:, :1])[:, neck]
    return values, _is_supported()[index]


def _mirror_randomly(values: Float[Tensor, "B A"], generator: Generator) -> Float[Tensor, "B A"]:
    """Replace each pose by its mirror image with probability 1/2."""
    return torch.where(chance(generator, 0.5, len(values), 1), BodyAngles(values).mirrored().values, values)


def _pelvis_orientation(values: Float[Tensor, "B A"]) -> Float[Tensor, "B 2"]:
    """Tilt and list of the pelvis, rounded to multiples of 90 degrees: upright, or on its front, back or a side."""
    return (values[:, [_COLUMN["pelvis_tilt"], _COLUMN["pelvis_list"]]] / (torch.pi / 2)).round()


def _sample_noise(deviation_deg: float, count: int, generator: Generator) -> Float[Tensor, "B A"]:
    """Noise of a pose in radians. Joints are correlated so that level soles stay level and upright trunks upright."""
    noise = torch.deg2rad(normal(generator, deviation_deg, count, len(BODY_ANGLE_NAMES)))
    noise *= torch.tensor([_noise_scale(name) for name in BODY_ANGLE_NAMES])
    common = torch.deg2rad(normal(generator, deviation_deg, count, 3))  # of both knees, both elbows, both shoulders
    tilt, to_left = (noise[:, _COLUMN[f"pelvis_{name}"]] for name in ("tilt", "list"))
    noise[:, _COLUMN["spine_flexion"]] -= 0.7 * tilt
    noise[:, _COLUMN["spine_side"]] -= 0.7 * to_left
    for side, outwards in (("left", to_left), ("right", -to_left)):
        at = {name: _COLUMN[f"{side}_{name}"] for name in ("hip_flexion", "knee_flexion", "ankle_flexion")}
        knee = 0.4 * noise[:, at["knee_flexion"]] + common[:, 0]
        hip = 0.4 * noise[:, at["hip_flexion"]] + 0.5 * knee + tilt
        noise[:, at["knee_flexion"]], noise[:, at["hip_flexion"]] = knee, hip
        noise[:, at["ankle_flexion"]] += tilt - hip + knee
        spread = noise[:, _COLUMN[f"{side}_hip_abduction"]] + outwards
        noise[:, _COLUMN[f"{side}_hip_abduction"]] = spread
        noise[:, _COLUMN[f"{side}_ankle_inversion"]] += spread - outwards
        noise[:, _COLUMN[f"{side}_elbow_flexion"]] += 0.7 * common[:, 1]
        noise[:, _COLUMN[f"{side}_shoulder_flexion"]] += 0.5 * common[:, 2]
        curl = noise[:, _COLUMN[f"{side}_fingers_curl"]]
        noise[:, _COLUMN[f"{side}_index_curl"]] = 0.7 * curl + 0.5 * noise[:, _COLUMN[f"{side}_index_curl"]]
    return noise


def _noise_scale(name: str) -> float:
    part = name.removeprefix("left_").removeprefix("right_").partition("_")[0]
    return _NOISE_SCALE.get(part, 1.0)
