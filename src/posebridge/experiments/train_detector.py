"""A detector: trained on composed scenes alone, measured on scenes of other cut-outs."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from posebridge.contracts.files import json_bytes, write_atomically
from posebridge.contracts.subjects import SUBJECT_KINDS, SubjectKind
from posebridge.data.cutout_file import load_or_render
from posebridge.data.frames import SIDES
from posebridge.data.scene_stream import SceneStream
from posebridge.deployment.detections import SubjectDetector
from posebridge.deployment.detector import DetectOptions, Detector
from posebridge.deployment.model_file import load_model, save_model
from posebridge.deployment.model_kinds import DETECTOR
from posebridge.deployment.model_spec import DetectorSpec
from posebridge.errors import InputError
from posebridge.experiments.configs import TrainDetectorConfig
from posebridge.experiments.renders import rendering_progress
from posebridge.metrics.detection import ImageMatches, detection_score, match_image
from posebridge.networks.detector import DetectorNetwork
from posebridge.synthesis.cutouts import Cutout
from posebridge.synthesis.whole_scenes import Scene, SceneComposer, SceneDistribution
from posebridge.training.detector_training import DetectorTraining, DetectorTrainingConfig
from posebridge.training.options import Hardware
from posebridge.training.run import Run, check_space

SCORES = "scores.json"
VALIDATION_SEED = 2_000_017  # of the cut-outs and scenes that are scored, apart from those of training
_VALIDATION_CUTOUTS = {"hand": 256, "person": 192}
_VALIDATION_SHAPE_PX = (480, 640)
SIZE_BINS_FRAC = (0.06, 0.125, 0.25, 0.5, 1.5)  # larger side of a box over the larger side of its image
_SPACE_MB = 1500


@dataclass(frozen=True)
class KindScore:
    """Numbers for one kind of subject on held-back scenes, in [0, 1]."""

    recall: float
    precision: float
    average_precision: float
    labels: int
    recall_by_size: dict[str, tuple[float, int]]  # size as a fraction of the image -> recall, number of subjects
    side_accuracy: float | None  # of found hands: the fraction with the right side


def run_train_detector(config: TrainDetectorConfig, folder: Path, hardware: Hardware) -> dict[SubjectKind, KindScore]:
    """Render, train, measure; leave model and scores.

    Raises ``InputError`` for numbers that are too small, and for a model to start from that isn't a detector.
    """
    Run.check(folder, "train-detector", config, hardware)
    check_space(folder, _SPACE_MB)
    start = None if config.start is None else load_model(config.start, DETECTOR)
    spec = DetectorSpec()
    if start is not None and start.spec != spec:
        raise InputError(f"{config.start} has another network than this version trains: leave --start out")
    training = DetectorTrainingConfig()
    training = replace(training, schedule=replace(training.schedule, steps=config.steps, decay=config.decay))
    run = Run.create(folder, "train-detector", config, hardware, training)
    sets = config.sets or folder / "cutouts"
    with rendering_progress(config.hands + config.people) as on_progress:
        hands = load_or_render(sets, "hand", config.hands, config.seed, on_progress)
        people = load_or_render(sets, "person", config.people, config.seed, on_progress)
    torch.manual_seed(config.seed)
    network = DetectorNetwork(spec.network)
    if start is not None:
        network.load_state_dict(start.network.state_dict())
    scenes = SceneStream(SceneComposer(SceneDistribution(), hands, people), training.batch_size, config.seed)
    stage = DetectorTraining(training, scenes, network, config.seed * 100 + 1, hardware.workers)
    run.train(1, stage)
    save_model(folder, spec, stage.result(), half=True)
    scores = score_detector(folder, validation_scenes(sets, config.test_scenes))
    write_atomically(folder / SCORES, json_bytes({kind: vars(score) for kind, score in scores.items()}))
    return scores


def validation_scenes(sets: Path, count: int) -> list[Scene]:
    """Scenes of 640 x 480 pixels, composed of cut-outs of a seed of their own."""
    cut: dict[SubjectKind, list[Cutout]] = {
        kind: load_or_render(sets, kind, _VALIDATION_CUTOUTS[kind], VALIDATION_SEED) for kind in SUBJECT_KINDS
    }
    composer = SceneComposer(SceneDistribution(), cut["hand"], cut["person"])
    return [composer.compose(*_VALIDATION_SHAPE_PX, np.random.default_rng([VALIDATION_SEED, i])) for i in range(count)]


def score_detector(
    model: Path, scenes: Sequence[Scene], options: DetectOptions | None = None
) -> dict[SubjectKind, KindScore]:
    """The scores of a detector on scenes, for each kind of subject. Raises ``InputError`` for another model."""
    options, loaded = options or DetectOptions(), Detector.load(model)
    least = options.least_confidence
    # All confidences are needed for the average precision; recall and precision are those at the threshold.
    every: dict[SubjectKind, Detector] = {
        kind: Detector(loaded.spec, loaded.network, replace(options, kind=kind, least_confidence=0.01))
        for kind in SUBJECT_KINDS
    }
    return {kind: score_on_scenes(detector, least, scenes, kind) for kind, detector in every.items()}


def score_on_scenes(every: SubjectDetector, least: float, scenes: Sequence[Scene], kind: SubjectKind) -> KindScore:
    """The score of a detector of one kind that returns detections of ``every`` confidence; ``least``: the threshold."""
    matches: list[ImageMatches] = []
    sizes: list[float] = []
    found: list[bool] = []
    sides: list[bool] = []
    for scene in scenes:
        labelled = [region for region in scene.regions if region.kind == kind and not region.ignored]
        ignored = [region.box_xyxy for region in scene.regions if region.kind == kind and region.ignored]
        boxes = np.array([region.box_xyxy for region in labelled]).reshape(-1, 4)
        detections = every.detect(scene.image)
        match = match_image(
            detections.boxes_xyxy, detections.confidence, boxes, np.array(ignored, dtype=np.float64).reshape(-1, 4)
        )
        matches.append(match)
        right = {int(j): i for i, j in enumerate(match.label) if j >= 0 and match.confidence[i] >= least}
        for j, region in enumerate(labelled):
            sizes.append(float((boxes[j, 2:] - boxes[j, :2]).max()) / max(scene.image.shape[:2]))
            found.append(j in right)
            if j in right:
                sides.append(detections.hand[right[j]] == SIDES[0 if region.mirrored else 1])
    score = detection_score(matches, len(sizes), least)
    size, hit = np.array(sizes), np.array(found)
    by_size = {}
    for low, high in itertools.pairwise(SIZE_BINS_FRAC):
        inside = (size >= low) & (size < high)
        by_size[f"{low:g}-{high:g}"] = (float(hit[inside].mean()) if inside.any() else float("nan"), int(inside.sum()))
    side_accuracy = float(np.mean(sides)) if kind == "hand" and sides else None
    return KindScore(score.recall, score.precision, score.average_precision, score.labels, by_size, side_accuracy)
