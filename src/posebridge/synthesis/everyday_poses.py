"""Everyday body poses by name, as joint angles in degrees.

One ``Arm`` or ``Leg`` stands for both sides. A foot is level unless its ankle is given.
"""

import math
from typing import NamedTuple

_HANDS = {  # curl of fingers, index and thumb
    "relaxed": (20.0, 15.0, 8.0),
    "flat": (0.0, 0.0, -5.0),
    "fist": (80.0, 80.0, 40.0),
    "point": (80.0, 0.0, 40.0),
    "grip": (50.0, 45.0, 30.0),
}


class Arm(NamedTuple):
    """Angles of shoulder, elbow, forearm and wrist, and the hand's posture; the defaults are a relaxed, hanging arm."""

    flexion: float = 4.0
    abduction: float = 8.0
    turn: float = 5.0
    elbow: float = 14.0
    forearm: float = 10.0
    wrist: float = 0.0
    deviation: float = 0.0
    hand: str = "relaxed"


class Leg(NamedTuple):
    """Angles of hip, knee, ankle and toes. With ``ankle`` None the foot is level."""

    flexion: float = 0.0
    abduction: float = 3.0
    turn: float = -6.0
    knee: float = 0.0
    ankle: float | None = None
    toes: float = 0.0
    inversion: float = 0.0  # used where the ankle is given


_HANGING, _STANDING, _SEAT = Arm(), Leg(), Leg(88, 8, -4, 88)


def _pose(
    arms: Arm | tuple[Arm, Arm] = _HANGING,
    legs: Leg | tuple[Leg, Leg] = _STANDING,
    spine: tuple[float, float, float] = (0.0, 0.0, 0.0),
    neck: tuple[float, float, float] = (0.0, 0.0, 0.0),
    pelvis: tuple[float, float] = (0.0, 0.0),
) -> dict[str, float]:
    """Angles by name, of (left, right) limbs, (flexion, side, turn) of spine and neck, (tilt, list) of the pelvis."""
    tilt, to_left = pelvis
    pose = {"pelvis_tilt": tilt, "pelvis_list": to_left}
    for part, angles in (("spine", spine), ("neck", neck)):
        pose |= {f"{part}_{name}": angle for name, angle in zip(("flexion", "side", "turn"), angles, strict=True)}
    for i, side in enumerate(("left", "right")):
        arm = arms if isinstance(arms, Arm) else arms[i]
        leg = legs if isinstance(legs, Leg) else legs[i]
        for joint, angle in (
            *zip(("shoulder_flexion", "shoulder_abduction", "shoulder_turn", "elbow_flexion"), arm[:4], strict=True),
            *zip(("forearm_turn", "wrist_flexion", "wrist_deviation"), arm[4:7], strict=True),
            *zip(("fingers_curl", "index_curl", "thumb_curl"), _HANDS[arm.hand], strict=True),
            *zip(("hip_flexion", "hip_abduction", "hip_turn", "knee_flexion"), leg[:4], strict=True),
            ("ankle_flexion", leg.ankle if leg.ankle is not None else tilt - leg.flexion + leg.knee),
            ("ankle_inversion", _level_inversion(leg, to_left if side == "left" else -to_left)),
            ("toes_extension", leg.toes),
        ):
            pose[f"{side}_{joint}"] = angle
    return pose


def _level_inversion(leg: Leg, outwards: float) -> float:
    """Inversion that levels the sole sideways for a leg spread or leaning outwards."""
    if leg.ankle is not None:
        return leg.inversion
    return min(max((leg.abduction - outwards) * math.cos(math.radians(leg.flexion)), -15.0), 30.0)


# fmt: off
EVERYDAY_POSES: dict[str, dict[str, float]] = {
    "stand": _pose(),
    "contrapposto": _pose(
        (Arm(0, 6, 5, 10), Arm(6, 10, 8, 22)), (Leg(18, 8, -18, 22), Leg(-2, -7, -4, 2)), (2, -11, -4), (0, 5, 8),
        (0, 6),
    ),
    "walk_contact": _pose(
        (Arm(-20, 7, 4, 8, 10), Arm(20, 7, 6, 22, 10)), (Leg(21, 1, -5, 7, 2), Leg(-21, 1, -5, 21, -3, 35)), (3, 0, 6),
    ),
    "walk_passing": _pose((Arm(2, 7, 4, 14), Arm(0, 7, 4, 14)), (Leg(22, 1, -3, 55, 3), Leg(3, -1, -5, 6)), (3, 0, 0)),
    "walk_push_off": _pose(
        (Arm(16, 7, 6, 20), Arm(-16, 7, 4, 8)), (Leg(-14, 1, -5, 28, -10, 45), Leg(14, 0, -5, 10)), (3, 0, -5),
    ),
    "stroll": _pose(
        (Arm(-8, 8, 6, 12), Arm(10, 8, 6, 18)), (Leg(15, 1, -8, 6, 0), Leg(-10, 1, -6, 8, 4, 15)), (2, 0, 3),
        (8, 0, 10),
    ),
    "run_push_off": _pose(
        (Arm(-48, 10, 5, 90, 0, hand="grip"), Arm(40, 5, 20, 95, 0, hand="grip")),
        (Leg(75, 2, 0, 95, 8), Leg(-18, 2, -5, 12, -35, 25)), (8, 0, 10), (-8, 0, -5), (10, 0),
    ),
    "run_flight": _pose(
        (Arm(30, 6, 20, 90, 0, hand="grip"), Arm(-35, 10, 5, 85, 0, hand="grip")),
        (Leg(-5, 2, 0, 105, -30), Leg(45, 2, 0, 50, 5)), (8, 0, -8), (-6, 0, 4), (8, 0),
    ),
    "climb_stairs": _pose(
        (Arm(15, 15, 10, 35), Arm(-10, 8, 5, 15)), (Leg(70, 4, -4, 75), Leg(8, 1, -6, 8)), (13, 5, -3), (8, 0, 0),
        (8, -8),
    ),
    "sit": _pose(Arm(-3, 13, 22, 73, 75, -22, 1), _SEAT),
    "sit_hands_in_lap": _pose(
        (Arm(4, 18, 56, 78, 40, -7, 1), Arm(5, 19, 55, 85, 59, -15, 5)), Leg(84, 6, -2, 88), (6, 0, 0), (8, 0, 0),
        (-6, 0),
    ),
    "sit_legs_crossed": _pose(
        (Arm(17, 0, 40, 70, 50, -8), Arm(-7, 11, 30, 94, 55, -10)), (Leg(84, 2, -2, 88), Leg(96, -13, -16, 75, -12)),
        (4, 0, 4), (0, 0, -8), (-8, 0),
    ),
    "sit_leaning_on_knees": _pose(Arm(55, 7, 40, 94, 11, -42), Leg(95, 12, -6, 86), (39, 0, 0), (-25, 0, 0), (10, 0)),
    "sit_typing": _pose(Arm(28, 8, 12, 72, 70, -8), _SEAT, (6, 0, 0), (8, 0, 0)),
    "sit_slouched": _pose(Arm(0, 22, 25, 50, 60, -10), Leg(68, 14, -10, 62), (20, 0, 0), (12, 0, 0), (-26, 0)),
    "sit_cross_legged": _pose(
        Arm(10, 37, 2, 97, 55, -12), (Leg(92, 31, -63, 142, -20), Leg(92, 31, -61, 125, -20)), (36, 0, 0), (-8, 0, 0),
        (-20, 0),
    ),
    "sit_on_the_ground": _pose(
        Arm(-30, 9, -32, 6, -22, -65), (Leg(65, 8, -10, 3, -20), Leg(84, 8, -6, 42, -9)), (12, 0, 0), (0, 0, 0),
        (-24, 0),
    ),
    "sit_hugging_knees": _pose(
        (Arm(46, 21, 57, 84, 6, -2), Arm(46, 18, 62, 75, 12, -6)), Leg(122, 5, 0, 103), (36, 0, 0), (8, 0, 0), (-11, 0),
    ),
    "squat": _pose(Arm(83, 12, 20, 40, 40), Leg(119, 12, -12, 138), (20, 0, 0), (-18, 0, 0), (8, 0)),
    "half_squat": _pose(Arm(85, 5, 0, 10, 70), Leg(82, 10, -10, 85), (10, 0, 0), (-15, 0, 0), (25, 0)),
    "kneel": _pose(Arm(2, 8, 8, 16, 10), Leg(8, 6, -2, 102, -45)),
    "kneel_on_one_knee": _pose(
        (Arm(10, 8, 20, 75, 50, -10), Arm(2, 10, 5, 16, 10)), (Leg(91, 8, -4, 85), Leg(-3, 3, 0, 101, 11, 60)),
        (6, 0, 0),
    ),
    "sit_on_heels": _pose(Arm(22, 5, 20, 52, 70, -10), Leg(54, 8, 0, 150, -35), (6, 0, 0)),
    "lunge": _pose(
        Arm(20, 12, 30, 50, 60, -10), (Leg(77, 2, -3, 80), Leg(-24, 2, 0, 51, 13, 60)), (6, 0, 0), (0, 0, 0), (4, 0),
    ),
    "bow": _pose(Arm(30, 5, 10, 10), Leg(40, 3, -6, 0), (18, 0, 0), (8, 0, 0), (34, 0)),
    "touch_toes": _pose(Arm(112, 4, 10, 8, 40), Leg(76, 3, -6, 4, -3), (68, 0, 0), (10, 0, 0), (74, 0)),
    "pick_up": _pose(
        (Arm(40, 10, 15, 30, 60), Arm(92, 2, 10, 10, 40, 0, 0, "grip")), (Leg(98, 8, -6, 91), Leg(92, 6, -6, 99)),
        (38, 0, 12), (-5, 0, 0), (22, 0),
    ),
    "tie_shoes": _pose(
        (Arm(63, 23, 63, 32, 30, 10), Arm(66, -21, 51, 6, 30, 10)),
        (Leg(107, 6, -4, 123, 30), Leg(40, 6, 0, 127, 25, 60)), (58, 0, 0), (10, 0, 0), (20, 0),
    ),
    "reach_up": _pose(
        (_HANGING, Arm(150, 30, 0, 10, 20, hand="grip")), Leg(0, 4, -6, 0, -25, 20), (-6, 8, -4), (-25, 0, 0), (1, 0),
    ),
    "reach_forward": _pose(
        (_HANGING, Arm(85, -2, 10, 12, 20)), (Leg(0, 3, -6, 0), Leg(12, 3, -6, 6)), (18, 0, 14), (-10, 0, -8),
    ),
    "arms_up": _pose(Arm(140, 60, -10, 12, 10, hand="flat"), spine=(-6, 0, 0), neck=(-12, 0, 0)),
    "arms_out": _pose(Arm(5, 88, 0, 4, 60, hand="flat")),
    "wave": _pose((_HANGING, Arm(8, 72, -82, 108, 10, hand="flat")), spine=(0, 2, 0), neck=(0, -6, 0)),
    "phone_to_ear": _pose((_HANGING, Arm(62, 41, 1, 150, 11, -24, -4, "grip")), _STANDING, (0, 0, 0), (4, -12, 0)),
    "look_at_phone": _pose((_HANGING, Arm(13, 3, 22, 106, -61, 20, -1, "grip")), neck=(28, 0, -8), spine=(6, 0, 0)),
    "take_a_photo": _pose(Arm(57, 2, 26, 105, -20, -17, 5, "grip")),
    "drink": _pose((_HANGING, Arm(60, -10, 36, 123, 1, -9, -18, "grip")), neck=(-8, 0, 0)),
    "think": _pose((Arm(22, -5, 78, 81, 0, 17, 6), Arm(40, -6, 49, 139, -3, -12, 3, "grip")), neck=(6, 0, 8)),
    "arms_crossed": _pose((Arm(18, 1, 64, 88, -16, 23, 20), Arm(27, 2, 78, 103, -22, 7, -13))),
    "hands_on_hips": _pose(Arm(-22, 43, 63, 100, -18, -37, 9)),
    "hands_behind_back": _pose((Arm(-38, 15, 63, 70, 24, 1, 13), Arm(-39, 13, 67, 62, 25, -2, 8))),
    "hands_behind_head": _pose(
        (Arm(51, 134, -77, 129, -4, 13, -11), Arm(53, 136, -79, 133, -4, 13, -11)), neck=(-4, 0, 0),
    ),
    "hands_in_pockets": _pose(Arm(-14, 16, 25, 42, 15, 5, 0, "flat"), (Leg(0, 3, -8, 0), Leg(10, 5, -12, 12))),
    "clap": _pose(Arm(16, 1, 34, 96, 6, -30, 3, "flat")),
    "explain": _pose(Arm(14, 14, -22, 85, -60, -10, hand="flat"), neck=(0, 6, 0)),
    "point": _pose((_HANGING, Arm(82, 12, 10, 4, 30, hand="point")), neck=(0, 0, -10)),
    "point_aside": _pose((Arm(18, 82, 10, 4, 40, hand="point"), _HANGING), spine=(0, 0, 6), neck=(0, 0, 45)),
    "carry_box": _pose(Arm(7, 3, 6, 80, -35, -1, 0, "grip"), _STANDING, (-6, 0, 0)),
    "carry_bag": _pose((Arm(2, 16, 5, 18), Arm(0, 10, 0, 4, 0, hand="fist")), spine=(2, 7, 0)),
    "push": _pose(
        Arm(78, 4, 20, 32, 45, -62, hand="flat"), (Leg(52, 3, -4, 42), Leg(-4, 3, -6, 18, 26, 35)), (8, 0, 0),
        (-15, 0, 0), (18, 0),
    ),
    "pull": _pose(
        (Arm(72, -2, 10, 12, 0, 0, 0, "fist"), Arm(50, 0, 10, 70, 0, 0, 0, "fist")),
        (Leg(33, 6, -6, 28, -29), Leg(31, 8, -14, 54)), (6, 0, -8), (5, 0, 0), (-14, 0),
    ),
    "throw": _pose(
        (Arm(70, 35, 10, 20, 40), Arm(-8, 92, -80, 95, 10, -25, 0, "grip")),
        (Leg(20, 6, -6, 16, 5), Leg(-10, 8, -28, 19)), (-6, -6, -28), (0, 0, 25), (-4, 0),
    ),
    "bat": _pose(
        (Arm(70, -30, 20, 30, 40, hand="fist"), Arm(40, 15, 0, 105, 10, hand="fist")),
        (Leg(28, 16, -10, 30), Leg(28, 16, -10, 30)), (12, 0, -30), (0, 0, 45), (12, 0),
    ),
    "kick": _pose(
        (Arm(45, 40, 0, 20, 10), Arm(-30, 35, 0, 20, 10)), (Leg(4, 0, -8, 14), Leg(72, 2, 0, 14, -35)), (12, -6, 8),
        (8, 0, 0), (-10, 7),
    ),
    "punch": _pose(
        (Arm(82, -8, 20, 6, 60, hand="fist"), Arm(30, 8, 25, 130, 10, hand="fist")),
        (Leg(30, 8, -6, 25), Leg(-8, 10, -25, 18, 10, 15)), (8, 0, -22), (0, 0, 15), (4, 0),
    ),
    "jump": _pose(Arm(60, 120, 0, 15, 10, hand="flat"), Leg(5, 32, -8, 8, -35), (-8, 0, 0), (-6, 0, 0)),
    "jump_tucked": _pose(Arm(70, 30, 10, 30, 20), Leg(112, 10, -4, 125, -20), (25, 0, 0), (-10, 0, 0)),
    "tree": _pose(
        Arm(150, 12, 35, 62, -25, -27, -13, "flat"), (Leg(0, -1, -4, 0), Leg(35, 40, -70, 127, -25)), (0, -4, 0),
        (0, 0, 0), (0, 5),
    ),
    "warrior": _pose(
        Arm(0, 88, 0, 3, 60, hand="flat"), (Leg(33, 37, -44, 66, 9, inversion=14), Leg(3, 32, -9, 7, 0, inversion=29)),
        (4, 0, 0), (0, 0, 55),
    ),
    "side_stretch": _pose(
        (Arm(20, 160, 0, 12, 20), Arm(-4, 22, 30, 70, 20)), Leg(0, 10, -6, 0), (0, -28, 0), (0, -12, 0), (0, -4),
    ),
    "stretch": _pose(Arm(120, 90, -20, 65, 0, hand="fist"), spine=(-14, 0, 0), neck=(-20, 0, 0)),
    "dance": _pose(
        (Arm(30, 115, -40, 60, 10, -20), Arm(10, 60, 10, 40, 30, 20)),
        (Leg(10, 12, -15, 20), Leg(30, 14, -25, 45, -25, 20)), (-2, -12, 14), (-6, 10, -10), (0, 6),
    ),
    "lie_on_back": _pose(Arm(0, 18, -10, 14, -20), Leg(2, 7, -16, 3, -25), pelvis=(-90, 0)),
    "lie_on_back_knees_up": _pose(Arm(-10, 34, 49, 115, 40), Leg(50, 5, 0, 105), neck=(12, 0, 0), pelvis=(-90, 0)),
    "lie_on_front": _pose(Arm(1, 85, -75, 85, 0, -6), Leg(10, 6, -12, 14, -41), neck=(-5, 0, 50), pelvis=(90, 0)),
    "lie_on_side": _pose(
        (Arm(80, 5, 20, 95, 0), Arm(30, 2, 10, 50, 30)), (Leg(35, 0, 0, 50, -20), Leg(50, -4, 0, 70, -20)), (12, 0, 0),
        (8, 0, 0), (0, 88),
    ),
    "crawl": _pose(Arm(85, 2, 0, 4, 70, -70, hand="flat"), Leg(85, 5, 0, 88, -45), (-2, 0, 0), (-25, 0, 0), (82, 0)),
    "plank": _pose(Arm(75, 4, 0, 4, 70, -68, hand="flat"), Leg(0, 3, 0, 0, 18, 60), neck=(-10, 0, 0), pelvis=(70, 0)),
}
# fmt: on

# Poses that are not balanced on their ground contacts: on a chair, in the air, pulled, or between two steps.
EXTERNALLY_SUPPORTED = frozenset(
    {name for name in EVERYDAY_POSES if name.startswith(("sit", "walk", "run", "jump", "pull"))}
)
