"""Recall, precision and time of a detector on composed scenes and on real images.

python benchmarks/detector.py MODEL --sets DIR --data ../shared/data --pictures DIR

Scenes are composed of hands and people of another seed. Real images are reported, nothing is chosen by them. A hand is
found where a detection overlaps its box by half or more. The box is 1.5 times the extent of its joints.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro

from posebridge.contracts.image_formats import open_image
from posebridge.contracts.subjects import SUBJECT_KINDS, SubjectKind
from posebridge.data.datasets.video import Video
from posebridge.deployment.crop_predictor import load_crop_predictor
from posebridge.deployment.detections import Detections, SubjectDetector, subject_kind
from posebridge.deployment.detector import DetectOptions, Detector
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import DETECTOR
from posebridge.deployment.pose_search import PoseSearch
from posebridge.deployment.shipped_models import ModelRef, model_path
from posebridge.experiments.train_detector import score_on_scenes, validation_scenes
from posebridge.geometry.boxes import JOINT_BOX_PADDING, box_iou, joint_box
from posebridge.metrics.detection import LEAST_IOU

_PHOTOGRAPHS = "formats/body/*/*.jpg"
_PASTED_FRAC = (0.12, 0.5)  # side of a pasted crop over the shorter side of the photograph
_DRAWN = 6  # pictures of each kind
_COLOURS = {"left": (255, 160, 0), "right": (0, 160, 255), None: (0, 200, 0)}


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    model: tyro.conf.Positional[ModelRef]
    """A detector (the folder of a run or of a model), or a model of poses, whose own search is measured."""

    sets: Path = Path("cutouts")
    """Folder where rendered hands and people are kept."""

    data: Path | None = None
    """Folder with real images. Without it, they are left out."""

    pictures: Path | None = None
    """Folder for pictures with drawn detections."""

    scenes: int = 400
    """Composed scenes."""

    least_confidence: float | None = None
    """Threshold of detections. Without it: 0.3, or that of the model of poses."""

    threads: int = 1
    """CPU threads."""


@dataclass(frozen=True)
class RealImage:
    """A real image with the box of one of its subjects, where that is known."""

    image: np.ndarray
    box_xyxy: np.ndarray | None = None


def rgb(path: Path) -> np.ndarray:
    with open_image(path) as file:
        return np.array(file.convert("RGB"))


def snap(data: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Crops of a hand and its joints; every fourth."""
    labels = np.load(data / "hand_rgb_snap/labels.npz")
    for key, uv in list(zip(labels["key"], labels["uv_px"], strict=True))[::4]:
        yield rgb(data / f"hand_rgb_snap/images/{key}.jpg"), uv


def snap_crops(data: Path) -> Iterator[RealImage]:
    for image, uv in snap(data):
        yield RealImage(image, joint_box(uv, JOINT_BOX_PADDING))


def snap_in_photographs(data: Path) -> Iterator[RealImage]:
    """Each crop once, made smaller, at a random place of a photograph."""
    photographs = [rgb(path) for path in sorted(data.glob(_PHOTOGRAPHS))]
    rng = np.random.default_rng(0)
    for i, (crop, uv) in enumerate(snap(data)):
        canvas = photographs[i % len(photographs)].copy()
        side = round(min(canvas.shape[:2]) * np.exp(rng.uniform(*np.log(_PASTED_FRAC))))
        x, y = (int(rng.integers(0, limit - side)) for limit in (canvas.shape[1], canvas.shape[0]))
        canvas[y : y + side, x : x + side] = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        scale = side / crop.shape[0]
        yield RealImage(canvas, joint_box((uv + 0.5) * scale - 0.5 + [x, y], JOINT_BOX_PADDING))


def digits(data: Path) -> Iterator[RealImage]:
    """Photographs of one hand each, without labels; every tenth."""
    for path in sorted(data.glob("hand_rgb_digits/*/*"))[::10]:
        yield RealImage(rgb(path))


def coco_annotations(pattern: str, category: int | None = None) -> Callable[[Path], Iterator[RealImage]]:
    """Images with keypoints in COCO's JSON, one subject at a time."""

    def read(data: Path) -> Iterator[RealImage]:
        for file in sorted(data.glob(pattern)):
            content = json.loads(file.read_text())
            names = {image["id"]: image["file_name"] for image in content["images"]}
            for annotation in content["annotations"]:
                path = file.parent / names[annotation["image_id"]]
                keypoints = np.array(annotation.get("keypoints", []), dtype=float).reshape(-1, 3)
                known = keypoints[:, 2] > 0
                if path.exists() and known.sum() >= 10:
                    yield RealImage(rgb(path), joint_box(keypoints[known, :2], JOINT_BOX_PADDING))

    return read


def videos(data: Path) -> Iterator[RealImage]:
    """Every tenth frame of four videos of one person."""
    for path in sorted(data.glob("body_multiview_pose2sim/*.mp4")):
        for frame in Video(path, 10):
            yield RealImage(frame.rgb)


REAL = {
    "hand": {
        "hand_rgb_snap": snap_crops,
        "hand_rgb_snap in photographs": snap_in_photographs,
        "hand_rgb_digits": digits,
        "FreiHAND": coco_annotations("formats/hand/freihand/*.json"),
        "OneHand10K": coco_annotations("formats/hand/onehand10k/*.json"),
    },
    "person": {
        "COCO": coco_annotations("formats/body/coco/test_coco.json"),
        "videos of one person": videos,
    },
}


def drawn(image: np.ndarray, found: Detections, box_xyxy: np.ndarray | None) -> np.ndarray:
    """The image with detections, the known box in white."""
    out, width = image.copy(), max(1, round(max(image.shape[:2]) / 300))
    rows = zip(found.boxes_xyxy, found.hand, found.confidence, strict=True)
    boxes = [(box, _COLOURS[hand], f"{confidence:.2f}") for box, hand, confidence in rows]
    if box_xyxy is not None:
        boxes.insert(0, (box_xyxy, (255, 255, 255), ""))
    for box, colour, text in boxes:
        low, high = box[:2].round().astype(int).tolist(), box[2:].round().astype(int).tolist()
        cv2.rectangle(out, low, high, colour, width)
        cv2.putText(out, text, (max(low[0], 0), max(low[1], 12)), 0, 0.4 * width, colour, width)
    return out


def real_row(name: str, images: Iterator[RealImage], detector: SubjectDetector, pictures: Path | None) -> str:
    number, labelled, hit, any_found, overlaps = 0, 0, 0, 0, []
    for number, real in enumerate(images, 1):
        found = detector.detect(real.image)
        any_found += len(found) > 0
        if real.box_xyxy is not None:
            labelled += 1
            iou = box_iou(real.box_xyxy[None], found.boxes_xyxy)
            overlaps.append(float(iou.max()) if len(found) else 0.0)
            hit += overlaps[-1] >= LEAST_IOU
        if pictures is not None and number <= _DRAWN:
            pictures.mkdir(parents=True, exist_ok=True)
            picture = drawn(real.image, found, real.box_xyxy)
            cv2.imwrite(str(pictures / f"{name.replace(' ', '-')}-{number}.png"), picture[..., ::-1])
    recall = f"{hit / labelled:.3f}" if labelled else ""
    return f"| {name} | {number} | {recall} | {any_found / max(1, number):.3f} |"


def milliseconds(detector: SubjectDetector) -> float:
    """Median time of a 640 x 480 image, resizing and decoding included."""
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    times = []
    for _ in range(40):
        start = time.perf_counter()
        detector.detect(image)
        times.append(1000 * (time.perf_counter() - start))
    return sorted(times[5:])[len(times[5:]) // 2]


def detectors(options: Options) -> tuple[dict[SubjectKind, SubjectDetector], float]:
    """What is measured, by kind of subject, with detections of every confidence; and the threshold."""
    path = model_path(options.model)
    if load_model(path).kind == DETECTOR:
        least = 0.3 if options.least_confidence is None else options.least_confidence
        return {kind: Detector.load(path, DetectOptions(kind, least_confidence=0.01)) for kind in SUBJECT_KINDS}, least
    predictor = load_crop_predictor(path, "cpu")
    least = predictor.least_confidence if options.least_confidence is None else options.least_confidence
    if least is None:
        raise SystemExit(f"{path} states no least confidence: give --least-confidence")
    return {subject_kind(predictor.skeleton): PoseSearch(predictor, 0.01)}, least


def confident(detector: SubjectDetector, least: float) -> SubjectDetector:
    """The detector with detections above the threshold alone."""
    if isinstance(detector, Detector):
        return Detector(detector.spec, detector.network, replace(detector.options, least_confidence=least))
    assert isinstance(detector, PoseSearch)
    return replace(detector, least_confidence=least)


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    every, least = detectors(options)
    scenes = validation_scenes(options.sets, options.scenes)
    scores = {kind: score_on_scenes(detector, least, scenes, kind) for kind, detector in every.items()}
    print(f"\n{options.scenes} composed scenes of 640 x 480 pixels, confidence {least}\n")
    print("| | recall | precision | average precision | subjects | right side |\n|---|---|---|---|---|---|")
    for kind, score in scores.items():
        side = "" if score.side_accuracy is None else f"{score.side_accuracy:.3f}"
        numbers = f"{score.recall:.3f} | {score.precision:.3f} | {score.average_precision:.3f}"
        print(f"| {kind} | {numbers} | {score.labels} | {side} |")
    print("\nrecall by size (larger side of the box over that of the image)\n")
    sizes = list(next(iter(scores.values())).recall_by_size)
    print(f"| | {' | '.join(sizes)} |\n|---|{'---|' * len(sizes)}")
    for kind, score in scores.items():
        print(f"| {kind} | " + " | ".join(f"{r:.3f} ({n})" for r, n in score.recall_by_size.values()) + " |")
    if options.data is not None:
        print("\n| real images | images | recall | with a detection |\n|---|---|---|---|")
        for kind, sets in REAL.items():
            if kind not in every:
                continue
            detector = confident(every[kind], least)
            for name, read in sets.items():
                pictures = None if options.pictures is None else options.pictures / kind
                print(real_row(name, read(options.data), detector, pictures), flush=True)
    first = confident(next(iter(every.values())), least)
    print(f"\n{milliseconds(first):.1f} ms a 640 x 480 image, {options.threads} threads")


if __name__ == "__main__":
    main(tyro.cli(Options))
