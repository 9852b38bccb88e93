"""A server of a model of known output in a thread, files for its pages, and what they show."""

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import uvicorn

from deployment.rigged import SPEC, DotFinder, draw_dots, truth_of
from posebridge.deployment.detections import Detections, SubjectDetector
from posebridge.deployment.predictor import PosePredictor
from posebridge.serve.app import build_app
from posebridge.serve.config import ServeConfig
from posebridge.serve.server import _listening
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.joint_colours import FAMILY_COLOURS, joint_family

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HERE = Path(__file__).parent
DOTS = np.array([[150.0, 190.0], [95.0, 70.0], [235.0, 80.0]])  # in pictures of 320 x 240
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip


def dots_at(i: int) -> np.ndarray:
    return DOTS + np.array([4.0, 2.0]) * i


def write_clip(path: Path, codec: str, pixels: str, frames: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 240, pixels, 8_000_000
        for i in range(frames):
            image = draw_dots(320, 240, dots_at(i))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@contextmanager
def serving(folder: Path, mode: str = "finish", detector: SubjectDetector | None = None, **options) -> Iterator[str]:
    """The address of a server in a thread."""
    (folder / "served").mkdir()
    config = ServeConfig(folder / "model", min_confidence=options.pop("min_confidence", 0.0), **options)
    predictor = PosePredictor(SPEC, DotFinder().eval())
    command = (sys.executable, str(HERE / "stand_in.py"), mode)
    app = build_app(config, predictor, folder / "served", detector, command)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    with _listening(0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(60)


class LeftHand:
    """Detects a left hand around the discs."""

    def detect(self, image: np.ndarray) -> Detections:
        return Detections(np.array([[59.5, 39.5, 279.5, 219.5]]), np.array([0.9]), ("left",))


def colours_at(page, points: np.ndarray) -> list[str]:
    """Colours of the overlay at pixels (n, 2) of the picture of 320 x 240."""
    return page.evaluate(
        """(points) => {
            const canvas = document.getElementById("overlay");
            const scale = Math.min(canvas.width / 320, canvas.height / 240);
            const [left, top] = [(canvas.width - 320 * scale) / 2, (canvas.height - 240 * scale) / 2];
            const context = canvas.getContext("2d");
            return points.map(([u, v]) => {
                const at = [left + (u + 0.5) * scale, top + (v + 0.5) * scale].map(Math.round);
                const [r, g, b] = context.getImageData(...at, 1, 1).data;
                return "#" + [r, g, b].map((value) => value.toString(16).padStart(2, "0")).join("");
            });
        }""",
        points.tolist(),
    )


def check_skeleton(page, dots: np.ndarray) -> None:
    """The last joint drawn at each disc has its colour there: the wrist at the first, ring and little finger beside."""
    truth = truth_of(dots)
    places = [HAND21.joints.index(name) for name in ("wrist", "pinky_4", "pinky_3")]
    expected = [FAMILY_COLOURS[joint_family(HAND21.joints[place])] for place in places]
    until = time.monotonic() + 30
    while colours_at(page, truth[places]) != expected:
        assert time.monotonic() < until, (colours_at(page, truth[places]), expected)
        time.sleep(0.1)


def picture_of(page, name: str) -> str:
    return page.evaluate("(name) => document.getElementById(name).toDataURL()", name)
