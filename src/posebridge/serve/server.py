"""The server of ``posebridge serve``: its socket, its model, its folder, and its end."""

import importlib.util
import socket
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posebridge.deployment.crop_predictor import load_crop_predictor
from posebridge.deployment.detection import chosen_detector
from posebridge.deployment.detections import subject_kind
from posebridge.deployment.shipped_models import model_path
from posebridge.errors import InputError
from posebridge.serve.config import ServeConfig

HOST = "127.0.0.1"
_LIBRARIES = ("starlette", "uvicorn")
_SHUTDOWN_S = 5  # for answers that are under way


def serve(config: ServeConfig) -> None:
    """Serve until ctrl-c or SIGTERM.

    Raises ``InputError`` for a missing extra, a busy port, a folder that can't be written, and a model that can't be
    loaded or reads no colour images.
    """
    _check_libraries()
    import uvicorn

    from posebridge.serve.app import build_app

    with _listening(config.port) as listener, _folder(config.runs) as folder:
        predictor = load_crop_predictor(model_path(config.model), config.device)
        url = f"http://{HOST}:{listener.getsockname()[1]}/"
        kind = subject_kind(predictor.skeleton)
        detector = chosen_detector(config.detector, kind, predictor, config.min_confidence)
        app = build_app(config, predictor, folder, detector)
        options = uvicorn.Config(
            app, log_level="warning", access_log=False, ws="none", server_header=False, lifespan="on",
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )  # fmt: skip
        print(f"{config.model} is served at {url} (ctrl-c ends it)", flush=True)
        if config.open and not webbrowser.open(url):
            print(f"no browser can be opened here: open {url} yourself", flush=True)
        try:
            uvicorn.Server(options).run(sockets=[listener])
        except KeyboardInterrupt:  # raised again by uvicorn, after its end
            pass
        finally:
            app.state.adaptation.kill()  # after a second ctrl-c, which ends the server at once


def _check_libraries() -> None:
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"{' and '.join(missing)} not installed: pip install 'posebridge[serve]'")


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen()
        except OSError as error:
            reason = error.strerror or "refused"
            raise InputError(
                f"cannot listen on {HOST}:{port}: {reason}; give another --port, or 0 for a free one"
            ) from None
        yield listener


@contextmanager
def _folder(runs: Path | None) -> Iterator[Path]:
    """The folder of uploads and runs: the given one, or a temporary one."""
    if runs is None:
        with tempfile.TemporaryDirectory(prefix="posebridge-serve-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
        return
    try:
        runs.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=runs).close()
    except OSError as error:
        raise InputError(f"cannot write into {runs}: {error.strerror}; choose another --runs") from error
    yield runs.absolute()
