"""Plausible hand poses: blends of named gestures and random articulation, within joint limits."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.bodies.hand_articulation import HandAngles, clamp_to_limits
from posebridge.draw import chance, choice, normal, uniform

_STRAIGHT, _CURLED, _HALF, _HOOK = (0.0, 4.0, 2.0), (78.0, 98.0, 58.0), (38.0, 45.0, 25.0), (5.0, 85.0, 50.0)
_FAN_DEG = (7.0, 1.0, -6.0, -13.0)  # spread of an open hand, index to pinky

# Each finger's (MCP, PIP, DIP), the factor on _FAN_DEG, and the thumb's (CMC flexion, CMC lift, MCP, IP). Degrees.
_Curl = tuple[float, float, float]
_GESTURES: dict[str, tuple[tuple[_Curl, ...], float, tuple[float, float, float, float]]] = {
    "open": ((_STRAIGHT,) * 4, 1.4, (-15.0, 0.0, 5.0, 0.0)),
    "flat": ((_STRAIGHT,) * 4, 0.2, (5.0, -18.0, 10.0, 5.0)),
    "relaxed": (((18, 28, 15), (24, 32, 18), (28, 34, 18), (30, 34, 18)), 0.4, (8.0, 0.0, 15.0, 15.0)),
    "fist": ((_CURLED,) * 4, 0.0, (38.0, 6.0, 42.0, 40.0)),
    "point": ((_STRAIGHT, _CURLED, _CURLED, _CURLED), 0.3, (36.0, 6.0, 42.0, 40.0)),
    "victory": ((_STRAIGHT, _STRAIGHT, _CURLED, _CURLED), 1.6, (42.0, 4.0, 38.0, 42.0)),
    "three": ((_STRAIGHT, _STRAIGHT, _STRAIGHT, _CURLED), 1.2, (45.0, 6.0, 35.0, 45.0)),
    "four": ((_STRAIGHT,) * 4, 1.0, (46.0, -2.0, 40.0, 45.0)),
    "thumbs_up": ((_CURLED,) * 4, 0.0, (-20.0, -16.0, 0.0, -8.0)),
    "gun": ((_STRAIGHT, _CURLED, _CURLED, _CURLED), 0.3, (-18.0, -8.0, 4.0, 0.0)),
    "thumb_index_middle": ((_STRAIGHT, _STRAIGHT, _CURLED, _CURLED), 1.3, (-18.0, 0.0, 5.0, 0.0)),
    "ok": (((50, 62, 30), (20, 18, 10), (8, 10, 6), (2, 8, 4)), 1.3, (28.0, 10.0, 22.0, 32.0)),
    "pinch": (((54, 50, 24), (60, 55, 30), (65, 70, 40), (68, 72, 42)), 0.4, (26.0, 12.0, 18.0, 24.0)),
    "grasp": ((_HALF,) * 4, 0.7, (15.0, 20.0, 18.0, 20.0)),
    "claw": ((_HOOK,) * 4, 1.2, (-5.0, 10.0, 25.0, 40.0)),
    "horns": ((_STRAIGHT, _CURLED, _CURLED, _STRAIGHT), 1.0, (40.0, 4.0, 40.0, 42.0)),
    "call": ((_CURLED, _CURLED, _CURLED, _STRAIGHT), 1.0, (-22.0, -4.0, 0.0, -5.0)),
    "bow": (((70, 8, 4),) * 4, 0.3, (20.0, 15.0, 10.0, 8.0)),
}
GESTURES = tuple(_GESTURES)


@dataclass(frozen=True)
class PoseDistribution:
    """Distribution of hand poses: gestures, random articulation and noise."""

    gesture_weights: dict[str, float] | None = None  # by name; None: uniform
    random_share: float = 0.5  # fraction of samples with random articulation instead of a gesture
    blend: float = 0.25  # largest interpolation factor from a gesture to a random articulation
    noise_deg: float = 7.0  # standard deviation
    wrist_deg: tuple[float, float] = (22.0, 10.0)  # standard deviations of wrist flexion and deviation


def sample_hand_poses(distribution: PoseDistribution, count: int, generator: Generator) -> HandAngles:
    """Sample the joint angles of ``count`` hands."""
    weights = distribution.gesture_weights or dict.fromkeys(GESTURES, 1.0)
    gestures = gesture_angles(GESTURES)
    drawn = choice(generator, tuple(weights.get(name, 0.0) for name in GESTURES), count)
    random = _random_articulation(count, generator)
    blend = uniform(generator, 0.0, distribution.blend, count)
    blend = torch.where(chance(generator, distribution.random_share, count), 1.0, blend)
    fingers = torch.lerp(gestures.fingers[drawn], random.fingers, blend[:, None, None])
    thumb = torch.lerp(gestures.thumb[drawn], random.thumb, blend[:, None])
    noise = torch.deg2rad(normal(generator, distribution.noise_deg, count, 4, 4))
    # Noise of neighbouring fingers is correlated, and the DIP joint follows the PIP joint.
    noise = 0.7 * noise + 0.5 * noise.mean(1, keepdim=True)
    noise[..., 1] *= 0.5
    noise[..., 3] = 0.6 * noise[..., 2] + 0.4 * noise[..., 3]
    thumb = thumb + torch.deg2rad(normal(generator, distribution.noise_deg, count, 4))
    wrist = torch.stack([torch.deg2rad(normal(generator, d, count)) for d in distribution.wrist_deg], dim=-1)
    return clamp_to_limits(HandAngles(fingers + noise, thumb, wrist))


def gesture_angles(names: tuple[str, ...]) -> HandAngles:
    """Angles of the named gestures with a straight wrist, one hand each."""
    fingers = torch.zeros(len(names), 4, 4)
    thumb = torch.zeros(len(names), 4)
    for i, name in enumerate(names):
        curls, fan, thumb_deg = _GESTURES[name]
        for f, (mcp, pip, dip) in enumerate(curls):
            fingers[i, f] = torch.tensor([mcp, fan * _FAN_DEG[f], pip, dip])
        thumb[i] = torch.tensor(thumb_deg)
    return HandAngles(torch.deg2rad(fingers), torch.deg2rad(thumb), torch.zeros(len(names), 2))


def _random_articulation(count: int, generator: Generator) -> HandAngles:
    """Fingers between straight, hooked and curled, correlated between neighbours; thumb folded or extended."""
    curl = _finger_curls(count, generator)
    hook = uniform(generator, 0.0, 1.0, count, 4) ** 2  # bends the middle joint without the knuckle
    mcp = 78 * curl * (1 - 0.75 * hook) - 12 * (1 - curl) * uniform(generator, 0.0, 1.0, count, 4)
    pip = 100 * curl
    dip = 0.6 * pip * uniform(generator, 0.5, 1.1, count, 4)
    fan = uniform(generator, -0.2, 1.8, count, 1) * torch.tensor(_FAN_DEG)
    spread = fan + normal(generator, 3.0, count, 4)
    fingers = torch.deg2rad(torch.stack([mcp, spread, pip, dip], dim=-1))
    is_folded = chance(generator, 0.5, count, 1)
    folded = torch.stack(
        [uniform(generator, low, high, count) for low, high in ((18, 48), (-8, 16), (5, 50), (0, 60))], dim=-1
    )
    extended = torch.stack(
        [uniform(generator, low, high, count) for low, high in ((-26, 16), (-22, 24), (-8, 30), (-18, 40))], dim=-1
    )
    thumb = torch.deg2rad(torch.where(is_folded, folded, extended))
    return HandAngles(fingers, thumb, torch.zeros(count, 2))


def _finger_curls(count: int, generator: Generator) -> Float[Tensor, "B 4"]:
    """Curl of each finger, about 0 (straight) to 1: a mixture of binary states and of one shared value."""
    state = chance(generator, 0.5, count, 4)
    for f in range(1, 4):
        copies_neighbour = chance(generator, 0.4, count)
        state[:, f] = torch.where(copies_neighbour, state[:, f - 1], state[:, f])
    binary = torch.where(state, uniform(generator, 0.75, 1.05, count, 4), uniform(generator, 0.0, 0.15, count, 4))
    shared = uniform(generator, 0.0, 1.0, count, 1) + normal(generator, 0.12, count, 4)
    return torch.where(chance(generator, 0.6, count, 1), binary, shared.clamp(0, 1.05))
