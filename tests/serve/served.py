"""The application on models of known output, and its client."""

import time
from pathlib import Path

import cv2
import numpy as np
from starlette.testclient import TestClient

from deployment.rigged import SPEC, DotFinder, draw_dots
from posebridge.deployment.predictor import PosePredictor
from posebridge.serve.app import build_app
from posebridge.serve.config import ServeConfig

ORIGIN = "http://127.0.0.1:8765"
DOTS = np.array([[70.3, 62.8], [45.6, 30.2], [82.1, 25.4]])


def client_of(folder: Path, predictor: PosePredictor | None = None, **options) -> TestClient:
    """A client of the application, to be used as a context; ``options`` are of ``ServeConfig`` and ``build_app``."""
    (folder / "served").mkdir()
    app_options = {name: options.pop(name) for name in ("detector", "command") if name in options}
    config = ServeConfig(folder / "model", min_confidence=options.pop("min_confidence", 0.0), **options)
    found = predictor or PosePredictor(SPEC, DotFinder().eval())
    app = build_app(config, found, folder / "served", **app_options)
    return TestClient(app, base_url=ORIGIN, headers={"Origin": ORIGIN})


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def picture(i: int = 0, suffix: str = ".png") -> bytes:
    """A picture whose discs have moved by ``i`` steps."""
    image = draw_dots(120, 90, DOTS + np.array([1.7, -0.9]) * i)
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


def ended(client: TestClient, url: str, field: str = "state", running: str = "running") -> dict:
    """The answer once it isn't running any more."""
    until = time.monotonic() + 120
    while (answer := client.get(url).json())[field] == running:
        assert time.monotonic() < until, answer
        time.sleep(0.05)
    return answer
