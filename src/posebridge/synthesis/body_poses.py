"""Plausible body poses: everyday ones and recombinations of them, with noise, that a given body can take.

Candidates that run through themselves or would fall over are passed over for the next one.
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
_SPREAD_OF_NOISE = {
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
    """How bodies are posed: shares of everyday poses and of random articulation, and how far samples stray."""

    pose_weights: dict[str, float] | None = None  # None: all alike
    random_share: float = 0.3  # of samples that are random articulation rather than an everyday pose
    blend: float = 0.3  # an everyday pose is moved up to this share of the way to a random articulation
    noise_deg: float = 6.0
    candidates: int = 5  # drawn for each sample; the first plausible one is taken, else the least implausible
    balance_share: float = 0.9  # of samples on the ground whose weight must rest on what touches it
    overlap_tolerance_m: float = 0.03  # how deep parts may press into one another: crossed arms, hands on hips


def sample_body_poses(
    distribution: BodyPoseDistribution, model: BodyModel, coefficients: Float[Tensor, "B S"], generator: Generator
) -> BodyAngles:
    """Angles of the bodies of these shapes. Raises ``InputError`` for a weight of a pose that is none."""
    B, K = len(coefficients), distribution.candidates
    drawn = choice(generator, _weights(distribution), B).repeat_interleave(K)
    random, random_held = _random_articulation(drawn, generator)
    free = chance(generator, distribution.random_share, B).repeat_interleave(K)
    stray = torch.where(free, 1.0, uniform(generator, 0.0, distribution.blend, B * K))
    values = torch.lerp(_everyday().values[drawn], random, stray[:, None])
    values = _either_way_round(values + _noise(distribution.noise_deg, B * K, generator), generator)
    angles = BodyAngles(values).clamped()
    falls = ~torch.where(free, random_held, _is_held()[drawn])
    falls &= chance(generator, distribution.balance_share, B).repeat_interleave(K)
    excess_m = implausibility_m(model, angles, coefficients, falls, distribution.overlap_tolerance_m).unflatten(
        0, (B, K)
    )
    order = torch.where(excess_m > 0, excess_m, torch.arange(-K, 0))  # the first plausible one sorts before all
    return BodyAngles(angles.values.unflatten(0, (B, K))[torch.arange(B), order.argmin(1)])


def implausibility_m(
    model: BodyModel,
    angles: BodyAngles,
    coefficients: Float[Tensor, "B S"],
    falls: Bool[Tensor, "BK"],
    overlap_tolerance_m: float,
) -> Float[Tensor, "BK"]:
    """Penetration of parts beyond ``overlap_tolerance_m``, plus how far bodies that can fall lean out; 0 is plausible.

    ``angles`` has K poses in a row for each of the B bodies.
    """
    bodies = posed_capsules(model, angles, coefficients)
    through = (penetration_m(bodies).amax(1) - overlap_tolerance_m).clamp_min(0)
    return through + torch.where(falls, -support_margin_m(bodies), 0.0).clamp_min(0)


def _weights(distribution: BodyPoseDistribution) -> tuple[float, ...]:
    weights = distribution.pose_weights or dict.fromkeys(EVERYDAY_POSES, 1.0)
    if unknown := sorted(set(weights) - set(EVERYDAY_POSES)):
        raise InputError(f"no everyday pose is called {unknown[0]!r}; known are {', '.join(EVERYDAY_POSES)}")
    return tuple(weights.get(name, 0.0) for name in EVERYDAY_POSES)


@lru_cache(maxsize=1)
def _everyday() -> BodyAngles:
    return BodyAngles.from_degrees(list(EVERYDAY_POSES.values())).clamped()


@lru_cache(maxsize=1)
def _is_held() -> Bool[Tensor, "P"]:
    return torch.tensor([name in EXTERNALLY_SUPPORTED for name in EVERYDAY_POSES])


def _random_articulation(
    drawn: Int[Tensor, "B"], generator: Generator
) -> tuple[Float[Tensor, "B A"], Bool[Tensor, "B"]]:
    """Trunk and legs of one pose on the way to another, each arm and the head of others; and which are held otherwise.

    Poses that lie, or stand, otherwise than the everyday pose ``drawn`` don't lend their trunk and legs, so half-way
    poses don't float. Arms are moved any share of the way to angles drawn from all that joints allow.
    """
    count, everyday = len(drawn), _everyday()

    def poses() -> tuple[Tensor, Tensor]:
        index = torch.randint(len(EVERYDAY_POSES), (count,), generator=generator)
        return _either_way_round(everyday.values[index], generator), index

    def bodies() -> tuple[Tensor, Tensor]:
        (body, index), own = poses(), everyday.values[drawn]
        alike = (_attitude(body) == _attitude(own)).all(1)
        return torch.where(alike[:, None], body, own), torch.where(alike, index, drawn)

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
    return values, _is_held()[index]


def _either_way_round(values: Float[Tensor, "B A"], generator: Generator) -> Float[Tensor, "B A"]:
    """Poses, or with even chances their mirror images."""
    return torch.where(chance(generator, 0.5, len(values), 1), BodyAngles(values).mirrored().values, values)


def _attitude(values: Float[Tensor, "B A"]) -> Float[Tensor, "B 2"]:
    """Whether the pelvis is upright, or on its front, back or a side."""
    return (values[:, [_COLUMN["pelvis_tilt"], _COLUMN["pelvis_list"]]] / (torch.pi / 2)).round()


def _noise(deviation_deg: float, count: int, generator: Generator) -> Float[Tensor, "B A"]:
    """Deviations of a pose; neighbours move together, so that soles that were level stay so and trunks stay upright."""
    noise = torch.deg2rad(normal(generator, deviation_deg, count, len(BODY_ANGLE_NAMES)))
    noise *= torch.tensor([_spread(name) for name in BODY_ANGLE_NAMES])
    common = torch.deg2rad(normal(generator, deviation_deg, count, 3))  # bend of the knees, of the elbows; arms raised
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


def _spread(name: str) -> float:
    part = name.removeprefix("left_").removeprefix("right_").partition("_")[0]
    return _SPREAD_OF_NOISE.get(part, 1.0)
