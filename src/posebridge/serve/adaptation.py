"""Adaptation from the page: uploaded footage, one run of ``posebridge adapt`` at a time, its progress and results."""

import asyncio
import os
import signal
import sys
import time
import zipfile
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from posebridge.contracts.run_layout import RunLayout
from posebridge.data.frames import SIDES
from posebridge.data.target_config import DetectorChoice
from posebridge.deployment.description import DESCRIPTION
from posebridge.errors import printable
from posebridge.methods.registry import METHODS, MethodEntry, default_method
from posebridge.serve.progress import StageProgress, parse_progress
from posebridge.serve.uploads import Media, MediaKind, RefusedError

State = Literal["idle", "running", "finished", "failed", "cancelled"]
POSEBRIDGE = (sys.executable, "-m", "posebridge.cli.main")

_FOOTAGE = "footage"  # folder of the uploads, and the subject of the report's title
_MOST_FILES = 2_000
_TIMES_UPLOAD = 4  # bytes of all files together, in those of the largest upload
_NOTES = 20  # lines of a run's output that the page shows
_STOP_S = 30.0  # for the step under way and its checkpoint, before the run is killed


def _default(kind: MediaKind) -> MethodEntry:
    return default_method("colour", "pairs" if kind == "video" else "images")


@dataclass(frozen=True)
class Method:
    """A method that adapts to colour images without labels of theirs."""

    entry: MethodEntry

    @property
    def kinds(self) -> tuple[MediaKind, ...]:
        """The uploads that it takes."""
        return ("video",) if self.entry.target == "pairs" else ("image", "video")

    def as_json(self) -> dict[str, Any]:
        """The method for the page."""
        entry = self.entry
        return {
            "name": entry.name, "title": entry.title, "summary": entry.summary, "kinds": self.kinds,
            "default_for": [kind for kind in self.kinds if _default(kind) is entry],
        }  # fmt: skip


ADAPTING = {
    name: Method(entry) for name, entry in METHODS.items() if entry.role == "adapted" and "colour" in entry.sensors
}


@dataclass
class _Run:
    """A run of ``posebridge adapt`` and what it has printed."""

    layout: RunLayout
    method: str
    process: asyncio.subprocess.Process
    stages: dict[str, StageProgress] = field(default_factory=dict)
    notes: deque[str] = field(default_factory=lambda: deque(maxlen=_NOTES))
    started: float = field(default_factory=time.monotonic)
    seconds: float | None = None  # once it has ended
    is_cancelled: bool = False
    following: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        if self.seconds is None:
            return "running"
        if self.process.returncode == 0:
            return "finished"
        return "cancelled" if self.is_cancelled else "failed"

    async def follow(self) -> None:
        """Read the output until the process ends."""
        assert self.process.stdout is not None
        pending = ""
        while block := await self.process.stdout.read(1 << 14):
            *lines, pending = (pending + block.decode(errors="replace")).replace("\r", "\n").split("\n")
            for line in lines:
                self._read(line.strip())
            self._read_bar(pending.strip())  # a bar ends where the next one begins, which may take minutes
        self._read(pending.strip())
        await self.process.wait()
        self.seconds = time.monotonic() - self.started

    def _read(self, line: str) -> None:
        if not self._read_bar(line) and line:
            self.notes.append(printable(line))

    def _read_bar(self, line: str) -> bool:
        progress = parse_progress(line)
        if progress is not None:
            self.stages[progress.label] = progress
        return progress is not None


class Adaptation:
    """The uploads for the next run, and the run under way or ended."""

    def __init__(
        self,
        folder: Path,
        model: Path,
        is_hand: bool,
        max_upload_mb: int,
        detector: DetectorChoice = "auto",
        command: Sequence[str] = POSEBRIDGE,
    ):
        """``model``: absolute path of the served one, from which runs start; likewise a ``detector`` of the user's.
        ``command``: that starts posebridge.
        """
        self.folder = folder
        self.model = model
        self.is_hand = is_hand
        self.max_bytes = max_upload_mb * 1_000_000 * _TIMES_UPLOAD
        self.detector = detector
        self.command = command
        self._input: Path | None = None
        self._kinds: list[MediaKind] = []
        self._bytes = 0
        self._run: _Run | None = None
        self._starting = asyncio.Lock()

    @property
    def is_running(self) -> bool:
        """Whether a run is under way."""
        return self._run is not None and self._run.state == "running"

    def check_room(self, declared_bytes: int) -> None:
        """Raise ``RefusedError`` where no further file is taken: during a run, or where there are too many."""
        if self.is_running:
            raise RefusedError("an adaptation is running: wait for its end, or cancel it", 409)
        if len(self._kinds) >= _MOST_FILES:
            raise RefusedError(f"more than {_MOST_FILES} files: give a video instead", 413)
        if self._bytes + declared_bytes > self.max_bytes:
            raise RefusedError(f"the files together are larger than {self.max_bytes // 1_000_000} MB: give fewer", 413)

    def add(self, upload: Path, media: Media) -> None:
        """Take an upload over as ``0000.jpg``, ``0001.jpg``, ... Raises ``RefusedError`` for a mixture of kinds."""
        self.check_room(upload.stat().st_size)
        if self._kinds and media.kind != self._kinds[0]:
            raise RefusedError("pictures and videos can't be mixed: remove the files, or give one kind", 409)
        if self._input is None:
            self._input = _new_folder(self.folder)
        self._bytes += upload.stat().st_size
        upload.replace(self._input / _FOOTAGE / f"{len(self._kinds):04d}{media.suffix}")
        self._kinds.append(media.kind)

    def clear(self) -> None:
        """Remove the uploads. Raises ``RefusedError`` during a run."""
        if self.is_running:
            raise RefusedError("an adaptation is running: cancel it before its files are removed", 409)
        if self._input is not None:
            for file in (self._input / _FOOTAGE).iterdir():
                file.unlink()
            with suppress(OSError):  # a run that has ended stays
                (self._input / _FOOTAGE).rmdir()
                self._input.rmdir()
        self._input, self._kinds, self._bytes = None, [], 0

    async def start(self, method: str, hand: str | None) -> None:
        """Start a run on the uploads. Raises ``RefusedError`` without uploads, for bad choices, and during a run."""
        async with self._starting:
            if self.is_running:
                raise RefusedError("an adaptation is running already: one runs at a time", 409)
            if self._input is None or not self._kinds:
                raise RefusedError("there is nothing to adapt to: give a video or pictures first", 400)
            if method not in ADAPTING:
                raise RefusedError(f"there is no such method: choose {', '.join(ADAPTING)}", 400)
            if self._kinds[0] not in ADAPTING[method].kinds:
                raise RefusedError(f"{method} needs video: give one, or choose another method", 400)
            if hand is not None and (not self.is_hand or hand not in SIDES):
                raise RefusedError("hand is left or right, and people have none", 400)
            self._run = await self._started(self._input, method, hand)
            self._input, self._kinds, self._bytes = None, [], 0

    async def _started(self, folder: Path, method: str, hand: str | None) -> _Run:
        layout = RunLayout(folder / "run")
        arguments = ["adapt", str(folder / _FOOTAGE), "--method", method, "--source", str(self.model)]
        arguments += ["--subject", "hand" if self.is_hand else "body", "--out", str(layout.folder)]
        arguments += ["--detector", str(self.detector), *([] if hand is None else ["--hand", hand])]
        process = await asyncio.create_subprocess_exec(
            *self.command, *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # ctrl-c reaches the server alone, which then ends the run
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        run = _Run(layout, method, process)
        run.following = asyncio.create_task(run.follow())
        return run

    async def cancel(self) -> None:
        """End the run: its step ends and is saved, so that ``posebridge resume`` could go on. Then kill it."""
        run = self._run
        if run is None or run.following is None or run.state != "running":
            return
        run.is_cancelled = True
        with suppress(ProcessLookupError):
            run.process.send_signal(signal.SIGTERM)
        ended, _ = await asyncio.wait([run.following], timeout=_STOP_S)
        if not ended:
            self.kill()
            await run.following

    def kill(self) -> None:
        """End the run at once, where the server can't wait for it."""
        if self._run is not None and self._run.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._run.process.pid, signal.SIGKILL)

    def results(self) -> RunLayout:
        """The folder of the finished run. Raises ``RefusedError`` where there is none."""
        if self._run is None or self._run.state != "finished":
            raise RefusedError("no adaptation has finished", 404)
        return self._run.layout

    def as_json(self) -> dict[str, Any]:
        """Uploads and run for the page."""
        return {
            "state": "idle" if self._run is None else self._run.state,
            "uploads": {"count": len(self._kinds), "kind": next(iter(self._kinds), None), "bytes": self._bytes},
            "methods": [method.as_json() for method in ADAPTING.values()],
            "run": None if self._run is None else _run_json(self._run),
        }


def _run_json(run: _Run) -> dict[str, Any]:
    seconds = time.monotonic() - run.started if run.seconds is None else run.seconds
    errors = [line.removeprefix("error: ") for line in run.notes if line.startswith("error: ")]
    error = ""
    if run.state == "failed":
        error = errors[-1] if errors else next(reversed(run.notes), f"the run ended with code {run.process.returncode}")
    return {
        "method": run.method,
        "folder": str(run.layout.folder),
        "seconds": round(seconds, 1),
        "stages": [stage.as_json() for stage in run.stages.values()],
        "notes": [] if run.state == "failed" else list(run.notes),
        "error": error,
        "has_report": run.layout.report.exists(),
    }


def model_zip(layout: RunLayout, file: Path) -> Path:
    """The model of a run as a ZIP file at ``file``: model.safetensors and model.json, which ``predict`` takes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for part in (layout.model, layout.folder / DESCRIPTION):
            archive.write(part, part.name)
    return file


def _new_folder(parent: Path) -> Path:
    """A folder for a run, named by the time, with a folder for the footage."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for name in (stamp, *(f"{stamp}-{i}" for i in range(2, 100))):
        with suppress(FileExistsError):
            (parent / name).mkdir()
            (parent / name / _FOOTAGE).mkdir()
            return parent / name
    raise RefusedError(f"{parent} has a hundred runs of this second", 500)
