"""Scene cuts, unordered photos and moving cameras, in synthetic films with known answers and in real ones."""

from collections.abc import Iterable
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from data.filmed import HEIGHT, WIDTH, disc_place, film, watched
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.crops import CropConfig, crop_frame
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.datasets.video import Video
from posebridge.data.frames import RawFrame
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.pairs import PairConfig, PairStream, split_pairs
from posebridge.data.sequences import Sequences, ShotDetector
from posebridge.synthesis.hand_domains import STUDIO
from posebridge.synthesis.stream import VideoSamples

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


def _cuts(found: Sequences) -> list[int]:
    return [int(key.removeprefix("clip_")) for key in found.cuts]


@pytest.mark.parametrize("lengths", [(20, 20), (6, 9, 30, 7), (40, 5), (25, 25, 25)])
def test_cuts_between_rooms_are_found(lengths):
    pictures = [picture for seed, count in enumerate(lengths) for picture in film(seed, count)]
    found = watched(pictures)
    starts = np.cumsum(lengths)[:-1].tolist()
    assert _cuts(found) == starts
    bounds = [0, *starts, sum(lengths)]
    for number, (start, end) in enumerate(pairwise(bounds), 1):
        assert set(found.names[start:end]) == {f"clip#{number}"}


def test_cuts_between_rendered_hands_are_found():
    """Other hands before other walls, with the same light and camera."""
    videos = VideoSamples(STUDIO, 64, 2, frames=6).samples(0, 24)
    pictures = [(image.permute(1, 2, 0) * 255).byte().numpy() for image in videos.rgb]
    assert _cuts(watched(pictures)) == [6, 12, 18]


def _flickering(pictures: list[np.ndarray]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    gains = random.uniform(0.6, 1.3, len(pictures))
    noisy = [
        gain * picture + random.normal(0, 12, picture.shape) for gain, picture in zip(gains, pictures, strict=True)
    ]
    return [np.clip(picture, 0, 255).astype(np.uint8) for picture in noisy]


def _with_a_flash(pictures: list[np.ndarray]) -> list[np.ndarray]:
    damaged = np.random.default_rng(1).integers(0, 255, pictures[0].shape, dtype=np.uint8)
    return [*pictures[:10], np.full_like(pictures[0], 255), *pictures[11:20], damaged, *pictures[21:]]


@pytest.mark.parametrize(
    "pictures",
    [
        film(3, 30, speed_px=40.0, disc_px=40),
        film(4, 30, pan_px=6.0, margin=200),
        _flickering(film(5, 30)),
        _with_a_flash(film(6, 30)),
        [np.full((HEIGHT, WIDTH, 3), level, np.uint8) for level in range(0, 240, 8)],
        film(7, 1),
        film(8, 2),
    ],
    ids=["fast", "pan", "flicker", "flash", "fade", "one frame", "two frames"],
)
def test_motion_is_not_a_cut(pictures):
    found = watched(pictures)
    assert found.cuts == ()
    assert set(found.names) == {"clip"}
    assert found.frames == tuple(range(len(pictures)))


def test_another_image_size_starts_a_shot():
    pictures = film(0, 8) + [picture[:100] for picture in film(0, 8)]
    assert _cuts(watched(pictures)) == [8]


@pytest.mark.parametrize("pan_px", [0.0, 0.2, 0.5, 1.5])
def test_camera_motion_is_estimated(pan_px):
    """Frames of a pair are 10 apart; a crop of the whole picture is as wide as the picture."""
    found = watched(film(1, 40, pan_px=pan_px), stride=(10, 10))
    assert found.motion["clip"] == pytest.approx(10 * pan_px / WIDTH, abs=1 / 128)
    assert bool(found.moving) == (pan_px >= 0.5)
    assert bool(found.notes()) == (pan_px >= 0.5)


def test_fast_camera_turns_count_as_motion():
    assert watched(film(1, 30, pan_px=8.0, margin=260), stride=(10, 10)).motion["clip"] >= 0.2


@pytest.mark.parametrize("pan_px", [0.0, 0.5])
def test_motion_inside_the_boxes_is_ignored(pan_px):
    """The disc fills much of the image and moves; motion is a fraction of the crop's side, which is the box's."""
    places = [disc_place(i, 8.0) for i in range(30)]
    boxes = [np.array([u - 48, v - 48, u + 48, v + 48]) for u, v in places]
    found = watched(film(2, 30, pan_px=pan_px, disc_px=48, speed_px=8.0), stride=(10, 10), boxes=boxes)
    assert found.motion["clip"] == pytest.approx(10 * pan_px / 96, abs=0.02)


def test_motion_is_estimated_per_shot():
    found = watched(film(1, 30) + film(2, 30, pan_px=1.0) + film(3, 4))
    assert set(found.motion) == {"clip#1", "clip#2"}  # the third is too short for a pair
    assert set(found.moving) == {"clip#2"}
    cuts, motion = found.notes()
    assert cuts == "2 scene cuts found, before clip_000030, clip_000060: no pair of frames lies across a cut"
    assert motion.startswith("the camera moves in 1 of 2 sequences, by ")
    assert motion.endswith("% of the crop's side within a pair of frames of clip#2")


def test_photos_of_different_places_are_not_a_sequence():
    photos = [film(seed, 1)[0] for seed in range(20)]
    found = watched(photos, photos=True)
    assert found.photos == 20
    assert len(set(found.names)) == 20
    assert found.notes() == ("20 photos don't follow one another: no pair of frames has one of them",)
    assert found.without_pairs((5, 15)).endswith("5 to 15 frames apart: the 20 photos don't follow one another")


def test_frames_of_a_film_are_a_sequence():
    pictures = film(4, 40, pan_px=2.0)
    assert watched(pictures, photos=True).photos == 0
    shuffled = [pictures[i] for i in np.random.default_rng(0).permutation(40)]
    assert watched(shuffled, photos=True).photos == 40
    assert watched(shuffled, photos=False).photos == 0  # frames of a video are in order, whatever their content


def test_pairs_do_not_cross_cuts():
    pictures = film(0, 20) + film(1, 20)
    numbers = [*range(0, 60, 3), *range(60, 120, 3)]  # every third frame
    found = watched(pictures, numbers=numbers)
    dataset = InMemoryDataset(
        [
            UnlabelledBatch(
                image=torch.zeros(40, 3, 2, 2),
                key=tuple(map(str, numbers)),
                sequence=("clip",) * 40,
                frame=torch.tensor(numbers),
            )
        ]
    )
    stream = PairStream(found.applied(dataset), 16, seed=0, config=PairConfig((5, 15)))
    for number in range(8):
        base, driving = split_pairs(stream.batch(number))
        assert base.sequence == driving.sequence
        assert torch.equal(base.frame >= 60, driving.frame >= 60)
        assert set((base.frame - driving.frame).abs().tolist()) <= {6, 9, 12, 15}
    assert dataset.without_images().sequence == ("clip",) * 40


@pytest.mark.parametrize(
    ("pictures", "numbers", "reason"),
    [
        (film(0, 1), None, "there is one frame"),
        (film(0, 4), None, "there are 4 frames"),
        (film(0, 4), [0, 20, 40, 60], "there are 4 frames, every 20th one"),
        (film(0, 4) + film(1, 3), None, "the longest of 2 sequences has 4 frames after 1 cut"),
    ],
)
def test_errors_explain_why_there_are_no_pairs(pictures, numbers, reason):
    line = watched(pictures, numbers=numbers).without_pairs((5, 15))
    assert line == f"no two frames of one sequence are 5 to 15 frames apart: {reason}"


def _footage(frames: Iterable[RawFrame], photos: bool) -> Sequences:
    detector = ShotDetector()
    list(detector.observed((frame, crop_frame(frame, CropConfig(32))) for frame in frames))
    return detector.sequences(PairConfig(), photos)


def test_real_people_before_cameras_at_rest():
    folder = SHARED / "body_multiview_pose2sim"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    films = {number: list(islice(Video(folder / f"cam0{number}.mp4"), 10)) for number in (1, 2)}
    for frames in films.values():
        found = _footage(frames, photos=False)
        assert found.cuts == ()
        assert not found.moving
    joined = [*films[1], *films[2]]
    found = watched([frame.rgb for frame in joined])
    assert _cuts(found) == [10]


def test_a_real_hand_that_a_camera_follows():
    """The files are crops that follow the hand, and between files 48 and 49 a piece of the film is missing."""
    folder = SHARED / "hand_rgb_snap" / "images"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    found = _footage(islice(ImageFolder(folder), 120), photos=True)
    assert (found.photos, found.cuts) == (0, ("00049",))
    assert set(found.moving) == {"#1", "#2"}


def test_real_photos_of_many_hands():
    folder = SHARED / "hand_rgb_digits"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    assert _footage(islice(ImageFolder(folder / "4"), 60), photos=True).photos == 60
