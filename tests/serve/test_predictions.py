import io
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from data.on_disk import truncate, write_pictures
from deployment.rigged import SPEC, DotFinder, draw_dots, truth_of
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.deployment.detections import Detections
from posebridge.deployment.estimator import ImageEstimator
from posebridge.deployment.predictor import PosePredictor
from posebridge.geometry.boxes import JOINT_BOX_PADDING, joint_box
from posebridge.serve import predictions
from serve.served import DOTS, client_of, ended, files_in, picture

pytestmark = pytest.mark.usefixtures("one_thread")
PREDICTOR = PosePredictor(SPEC, DotFinder().eval())


@pytest.fixture
def client(tmp_path):
    with client_of(tmp_path) as client:
        yield client


def downloaded(client, name: str, tmp_path) -> KeypointSet:
    (tmp_path / "downloaded.npz").write_bytes(client.get(f"/api/predictions/{name}/predictions.npz").content)
    return KeypointSet.load(tmp_path / "downloaded.npz")


def clip(path, frames: int) -> bytes:
    """A video of moving discs."""
    write_pictures(path, [draw_dots(120, 90, DOTS + i) for i in range(frames)])
    return path.read_bytes()


def test_picture(client, tmp_path):
    answer = client.post("/api/predictions", content=picture()).json()
    assert (answer["source"], answer["state"], answer["count"]) == ("image", "done", 1)
    (frame,) = answer["frames"]
    (subject,) = frame["subjects"]
    assert (frame["width"], frame["height"], subject["box"]) == (120, 90, None)
    np.testing.assert_allclose(subject["uv"], truth_of(DOTS), atol=0.6)
    found = downloaded(client, answer["id"], tmp_path)
    np.testing.assert_allclose(found.uv_px[0], subject["uv"], atol=0.006)
    np.testing.assert_allclose(found.xyz_mm[0], subject["xyz"], atol=0.006)
    as_json = client.get(f"/api/predictions/{answer['id']}/predictions.json").json()
    assert as_json["joint_names"] == list(found.joint_names)
    np.testing.assert_allclose(as_json["frames"][0]["uv_px"], found.uv_px[0], atol=1e-4)
    assert files_in(tmp_path / "served") == []


@pytest.mark.parametrize("orientation", [1, 2, 6, 7])
def test_oriented_picture(client, tmp_path, orientation):
    """The page shows upright pixels; the download has those of the file, as predict writes them."""
    stored = Image.fromarray(draw_dots(120, 90, DOTS))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, "PNG", exif=exif)
    (tmp_path / "in.png").write_bytes(buffer.getvalue())
    answer = client.post("/api/predictions?hand=left", content=buffer.getvalue()).json()
    expected = ImageEstimator(PREDICTOR).predict(tmp_path / "in.png", hand="left")
    found = downloaded(client, answer["id"], tmp_path)
    np.testing.assert_allclose(found.uv_px, expected.uv_px, atol=1e-4)
    np.testing.assert_allclose(found.xyz_mm, expected.xyz_mm, atol=1e-3)
    (frame,) = answer["frames"]
    upright = {1: lambda u, v: (u, v), 2: lambda u, v: (119 - u, v), 6: lambda u, v: (89 - v, u)}
    upright[7] = lambda u, v: (89 - v, 119 - u)
    shown = np.stack(upright[orientation](*found.uv_px[0].T), axis=1)
    np.testing.assert_allclose(frame["subjects"][0]["uv"], shown, atol=0.01)
    # Joints in space lie as those in the upright picture do, up to scale.
    centred = shown - shown[0]
    in_space = np.array(frame["subjects"][0]["xyz"])[:, :2]
    assert np.corrcoef(centred.ravel(), in_space.ravel())[0, 1] > 0.999
    assert (frame["width"], frame["height"]) == ((120, 90) if orientation < 5 else (90, 120))


def test_drawn_box_and_hand(client, tmp_path):
    box = (30.0, 12.0, 95.0, 78.0)
    answer = client.post("/api/predictions", params={"box": "30,12,95,78", "hand": "left"}, content=picture()).json()
    expected = ImageEstimator(PREDICTOR).predict(draw_dots(120, 90, DOTS), np.array(box), "left")
    np.testing.assert_allclose(downloaded(client, answer["id"], tmp_path).uv_px, expected.uv_px, atol=1e-4)
    assert answer["frames"][0]["subjects"][0]["box"] == list(box)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("box=1,2,3", "box is four numbers"),
        ("box=1,2,nan,4", "box is four finite numbers"),
        ("box=500,500,600,600", "lies outside the image"),
        ("box=50,50,40,40", "is empty"),
        ("hand=both", "hand is left or right"),
    ],
)
def test_refused_choices(client, tmp_path, query, reason):
    answer = client.post(f"/api/predictions?{query}", content=picture())
    assert answer.status_code == 400
    assert reason in answer.json()["error"]
    assert files_in(tmp_path / "served") == []


class Found:
    """A detector of known boxes."""

    def __init__(self, boxes: np.ndarray, hands: tuple):
        self.boxes, self.hands, self.seen = boxes, hands, []

    def detect(self, image: np.ndarray) -> Detections:
        self.seen.append(image)
        return Detections(self.boxes, np.linspace(0.9, 0.8, len(self.boxes)), self.hands)


BOXES = np.array([[30.0, 12, 95, 78], [20.0, 5, 99, 80]])


def test_detector(tmp_path):
    detector = Found(BOXES, ("left", "right"))
    with client_of(tmp_path, detector=detector) as client:
        assert client.get("/api/model").json()["detects"]
        answer = client.post("/api/predictions", content=picture()).json()
        found = downloaded(client, answer["id"], tmp_path)
        as_left = client.post("/api/predictions?hand=left", content=picture()).json()
        found_left = downloaded(client, as_left["id"], tmp_path)
        detector.boxes, detector.hands = np.zeros((0, 4)), ()
        empty = client.post("/api/predictions", content=picture()).json()
    np.testing.assert_array_equal(detector.seen[0], draw_dots(120, 90, DOTS))
    for predicted, answered, sides in ((found, answer, ("left", "right")), (found_left, as_left, ("left", "left"))):
        assert predicted.key.tolist() == ["image", "image_subject1"]
        for row, side in enumerate(sides):
            assert answered["frames"][0]["subjects"][row]["box"] == BOXES[row].tolist()
            expected = ImageEstimator(PREDICTOR).predict(draw_dots(120, 90, DOTS), BOXES[row], side)
            np.testing.assert_allclose(predicted.uv_px[row], expected.uv_px[0], atol=1e-4)
    assert (empty["frames"][0]["subjects"], empty["skipped"]) == ([], 1)


def test_a_detector_follows_videos_and_cameras(tmp_path):
    """It runs on the first frame and on every tenth; between them, boxes follow the joints."""
    detector = Found(BOXES[:1], ("left",))
    with client_of(tmp_path, detector=detector) as client:
        video = client.post("/api/predictions", content=clip(tmp_path / "clip.mp4", 12)).json()
        video = ended(client, f"/api/predictions/{video['id']}")
        assert len(detector.seen) == 2
        camera = client.post("/api/cameras").json()
        frames = [
            client.post(f"/api/cameras/{camera['id']}/frames", content=picture(i, ".jpg")).json() for i in range(3)
        ]
        assert len(detector.seen) == 3
    for sequence, least in ((video["frames"], 12), (frames, 3)):
        boxes = np.array([frame["subjects"][0]["box"] for frame in sequence])
        assert len(boxes) == least
        np.testing.assert_array_equal(boxes[0], BOXES[0])
        for frame, following in zip(sequence, boxes[1:10], strict=False):
            expected = joint_box(np.array(frame["subjects"][0]["uv"]), JOINT_BOX_PADDING)
            np.testing.assert_allclose(following, expected, atol=0.02)


def test_no_hand_is_listed_and_not_drawn(tmp_path):
    with client_of(tmp_path, min_confidence=1.0) as client:
        answer = client.post("/api/predictions", content=picture()).json()
        assert (answer["frames"][0]["subjects"], answer["skipped"]) == ([], 1)
        download = client.get(f"/api/predictions/{answer['id']}/predictions.json")
    assert download.status_code == 404
    assert download.json()["error"].startswith("no frame has a pose")


def test_video(client, tmp_path):
    answer = client.post("/api/predictions", content=clip(tmp_path / "clip.mp4", 9)).json()
    assert (answer["source"], answer["state"]) == ("video", "running")
    answer = ended(client, f"/api/predictions/{answer['id']}")
    assert (answer["state"], answer["count"], answer["total"], answer["error"]) == ("done", 9, 9, "")
    assert [frame["frame"] for frame in answer["frames"]] == list(range(9))
    np.testing.assert_allclose([frame["time"] for frame in answer["frames"]], np.arange(9) / 25, atol=1e-3)
    found = downloaded(client, answer["id"], tmp_path)
    np.testing.assert_allclose(found.uv_px, ImageEstimator(PREDICTOR).predict(tmp_path / "clip.mp4").uv_px, atol=1e-4)
    assert found.key[8] == "video_000008"
    later = client.get(f"/api/predictions/{answer['id']}?since=7").json()
    assert [frame["frame"] for frame in later["frames"]] == [7, 8]
    assert later["next"] == 9
    assert files_in(tmp_path / "served") == []


class Gate(DotFinder):
    """Waits at each prediction until it is opened."""

    def __init__(self):
        super().__init__()
        self.reached, self.open = threading.Semaphore(0), threading.Semaphore(0)

    def forward(self, images):
        self.reached.release()
        assert self.open.acquire(timeout=60)
        return super().forward(images)


def test_one_video_at_a_time_and_cancel(tmp_path):
    content = clip(tmp_path / "clip.mp4", 12)
    gate = Gate()
    with client_of(tmp_path, replace(PREDICTOR, network=gate.eval())) as client:
        first = client.post("/api/predictions", content=content).json()
        assert gate.reached.acquire(timeout=60)
        second = client.post("/api/predictions", content=content)
        assert (second.status_code, second.json()["error"]) == (
            409, "another video is being predicted: wait for its end, or cancel it",
        )  # fmt: skip
        gate.open.release(3)
        cancelling = threading.Thread(target=client.delete, args=(f"/api/predictions/{first['id']}",))
        cancelling.start()
        cancelling.join(5)
        gate.open.release(100)
        cancelling.join(60)
        assert not cancelling.is_alive()
        assert client.get(f"/api/predictions/{first['id']}").json()["state"] == "cancelled"
    assert files_in(tmp_path / "served") == []


def test_abandoned_video(client, tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "_ABANDONED_S", -1.0)
    monkeypatch.setattr(predictions, "_CHUNK_S", 0.0)
    answer = client.post("/api/predictions", content=clip(tmp_path / "clip.mp4", 12)).json()
    answer = ended(client, f"/api/predictions/{answer['id']}")
    assert answer["state"] == "cancelled"
    assert 0 < answer["count"] < 12


def test_too_long_and_broken_videos(tmp_path):
    content = clip(tmp_path / "clip.mp4", 12)
    with client_of(tmp_path, max_video_frames=11) as client:
        answer = client.post("/api/predictions", content=content).json()
        answer = ended(client, f"/api/predictions/{answer['id']}")
        assert answer["state"] == "failed"
        assert answer["error"] == "the video has 12 frames, and 11 are allowed: shorten it"
        truncate(tmp_path / "clip.mp4")
        broken = client.post("/api/predictions", content=(tmp_path / "clip.mp4").read_bytes())
        assert broken.status_code == 415
        assert broken.json()["error"].startswith("the video can't be read: ")
        assert str(tmp_path) not in broken.json()["error"]
    assert files_in(tmp_path / "served") == []


def test_camera(client, tmp_path):
    name = client.post("/api/cameras").json()["id"]
    for i in range(3):
        frame = client.post(f"/api/cameras/{name}/frames", content=picture(i, ".jpg")).json()
        assert frame["frame"] == i
        np.testing.assert_allclose(frame["subjects"][0]["uv"], truth_of(DOTS + np.array([1.7, -0.9]) * i), atol=1)
    assert downloaded(client, name, tmp_path).key.tolist() == ["camera_000000", "camera_000001", "camera_000002"]
    client.delete(f"/api/predictions/{name}")
    assert client.get(f"/api/predictions/{name}").json()["state"] == "done"
    assert files_in(tmp_path / "served") == []


def test_one_camera_frame_in_flight(tmp_path):
    gate = Gate()
    with client_of(tmp_path, replace(PREDICTOR, network=gate.eval())) as client:
        url = f"/api/cameras/{client.post('/api/cameras').json()['id']}/frames"
        answers = []
        sending = threading.Thread(target=lambda: answers.append(client.post(url, content=picture())))
        sending.start()
        assert gate.reached.acquire(timeout=60)
        assert client.get("/api/model").status_code == 200  # the event loop is free
        refused = client.post(url, content=picture())
        gate.open.release()
        sending.join(60)
    assert (refused.status_code, answers[0].status_code) == (429, 200)


def test_only_the_last_predictions_are_kept(client):
    names = [client.post("/api/predictions", content=picture()).json()["id"] for _ in range(10)]
    statuses = [client.get(f"/api/predictions/{name}").status_code for name in names]
    assert statuses == [404] * 2 + [200] * 8
