"""A synthetic record of a run on 291 frames, with and without labels of the target."""

import numpy as np

from posebridge.contracts.record import (
    Candidate,
    CheckpointChoice,
    GalleryFrame,
    Provenance,
    PublishedRow,
    Record,
    Score,
    Skipped,
)
from posebridge.skeletons.hand import HAND21
from posebridge.training.pseudo_label_section import pseudo_label_sections

THRESHOLDS = np.linspace(0, 0.2, 41)


def score(pck_005: float, error_px: float, side: float = 256.0) -> Score:
    """A score whose curve passes through ``pck_005`` and whose finger tips are the hardest joints."""
    rate = -np.log(1 - pck_005) / 0.05
    along = np.array([0 if joint == "wrist" else int(joint[-1]) for joint in HAND21.joints])
    per_joint = np.clip(pck_005 - 0.04 * (along - 2), 0, 1)
    groups = {name: float(per_joint[list(joints)].mean()) for name, joints in HAND21.group_indices().items()}
    curve = 1 - np.exp(-rate * THRESHOLDS)
    return Score(
        n_frames=291,
        joint_names=HAND21.joints,
        image_side_px=side,
        pck_005=pck_005,
        mean_error_px=error_px,
        auc=float(np.trapezoid(curve, THRESHOLDS) / 0.2),
        pck_thresholds=tuple(THRESHOLDS.tolist()),
        pck_curve=tuple(curve.tolist()),
        per_joint_pck=tuple(per_joint.tolist()),
        per_joint_error_px=tuple((error_px * (0.7 + 0.15 * along)).tolist()),
        per_group_pck=groups,
        alignment="root-scale",
        mean_error_mm=1.9 * error_px,
        median_error_mm=1.4 * error_px,
        pa_mean_error_mm=0.9 * error_px,
    )


def hand_uv(side: float, tilt: float) -> np.ndarray:
    """An open hand seen from the front, (21, 2) pixels."""
    uv = np.zeros((21, 2))
    uv[0] = 0.5, 0.86
    for finger, angle in enumerate(np.deg2rad([-58, -22, -4, 12, 30])):
        reach = 0.2 if finger == 0 else 0.36
        for i in range(4):
            length = reach + i * (0.075 if finger == 0 else 0.085)
            uv[1 + 4 * finger + i] = uv[0] + length * np.array([np.sin(angle), -np.cos(angle)])
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    return ((uv - 0.5) @ turn.T + 0.5) * side


def frame(kind, index: int, error_px: float | None, rng: np.random.Generator, side: int = 192) -> GalleryFrame:
    v, u = np.mgrid[:side, :side] / side
    light = 70 + 90 * np.exp(-((u - rng.uniform()) ** 2 + (v - rng.uniform()) ** 2) / 0.3)
    image = np.clip(light[..., None] * rng.uniform(0.6, 1.1, 3) + rng.normal(0, 3, (side, side, 3)), 0, 255)
    truth = hand_uv(side, rng.uniform(-0.4, 0.4))
    palm = np.hypot(*(np.stack([u, v]) * side - truth[[0, 5, 9, 17]].mean(0)[:, None, None])) < 0.17 * side
    image[palm] = image[palm] * 0.2 + np.array([196, 146, 120]) * 0.8
    predicted = truth + rng.normal(0, error_px or 3.0, (21, 2))
    if kind == "worst":
        predicted[8] = np.nan
    uv_truth = None if error_px is None else truth
    return GalleryFrame(f"video_07_{index:05d}", kind, image.astype(np.uint8), predicted, uv_truth, error_px)


def choice(with_truth: bool) -> CheckpointChoice:
    steps = range(200, 2001, 200)
    return CheckpointChoice(
        criterion="Agreement between two augmented views of unlabelled target frames, times the share of plausible "
        "poses.",
        step=1400,
        candidates=tuple(Candidate(step, 0.71 - ((step - 1400) / 3000) ** 2) for step in steps),
        oracle=Candidate(1800, 0.583) if with_truth else None,
        oracle_at_choice=0.574 if with_truth else None,
    )


def published() -> tuple[PublishedRow, ...]:
    """Synthetic rows of two tables: one with groups of joints and an empty cell, one in space with a caveat."""

    def row(method: str, own: bool, values: dict, doubts: tuple[str, ...] = (), table: str = "Table 1") -> PublishedRow:
        in_image = table == "Table 1"
        return PublishedRow(
            paper="Nobody et al., NOWHERE 2031",
            table=table,
            source="studio",
            target="living room",
            metric="PCK@0.05" if in_image else "EPE",
            unit="%" if in_image else "mm",
            higher_is_better=in_image,
            variant="",
            split="291 frames test",
            backbone="ResNet-101",
            method=method,
            supervision="unlabelled target",
            proposed=own,
            values=values,
            caveats=doubts,
        )

    return (
        row("Rival", False, {"MCP": None, "Fin": None, "All": 55.5}),
        row("Ours", True, {"MCP": 66.6, "Fin": 44.4, "All": 60.1}),
        row("Ours", True, {"All": 17.25}, ("the scan is hard to read",), table="Table 2"),
    )


def candidates(with_truth: bool) -> list[dict[str, float]]:
    """Checkpoints of a stage with coverage of pseudo-labels, and their precision with truth."""
    precision = [{"precision": 0.62 + 0.2 * step / 2000} if with_truth else {} for step in range(0, 2001, 200)]
    return [{"step": 200 * i, "coverage": 0.5 + 0.02 * i, **measured} for i, measured in enumerate(precision)]


def synthetic_record(with_truth: bool = True) -> Record:
    """A run on 291 frames; without truth it has no score, no precision, no oracle and no ranked frames."""
    rng = np.random.default_rng(0)
    kinds = [("best", 2.1), ("median", 6.4), ("worst", 17.3)] if with_truth else [("sample", None)]
    steps = range(0, 2001, 20)
    return Record(
        title="Mean teacher on a living-room camera",
        method="mean_teacher",
        joint_names=HAND21.joints,
        bones=HAND21.bones,
        groups=HAND21.group_indices(),
        scores={
            "source_only": score(0.412, 19.6),
            "adapted": score(0.574, 13.1),
            "supervised_target": score(0.861, 6.2),
        }
        if with_truth
        else {},
        curves={
            "1-source": {
                "supervised": tuple((s, float(3 * np.exp(-s / 500) + rng.normal(0, 0.05))) for s in steps),
                "studio PCK@0.05": tuple((s, 0.82 - 0.8 * float(np.exp(-s / 400))) for s in steps[::5]),
            },
            "2-adapt": {
                "supervised": tuple((s, float(0.4 + rng.normal(0, 0.02))) for s in steps),
                "consistency": tuple((s, float(0.2 * np.exp(-s / 900) + rng.normal(0, 0.004))) for s in steps),
                "learning rate": tuple((s, 1e-4 * (1 - s / 2000)) for s in steps),
            },
        },
        gallery=tuple(frame(kind, 40 * i + len(kind), error, rng) for kind, error in kinds for i in range(4)),
        provenance=Provenance(
            command="posebridge adapt mean-teacher --target frames --hand left --out runs/living-room",
            seed=7,
            seconds=1543.2,
            config={"teacher": {"momentum": 0.999}, "mask_share": 0.5, "style": ["fourier", 0.5]},
            versions={"posebridge": "0.1.0", "torch": "2.15.0", "numpy": "2.4.6"},
            checkpoint=choice(with_truth),
        ),
        skipped=(Skipped("frames/0031.jpg", "cut off after 1204 bytes"), Skipped("frames/notes.jpg", "not an image")),
        notes=("Trained on two CPU cores.",),
        published=published(),
        sections=pseudo_label_sections(candidates(with_truth)),
    )
