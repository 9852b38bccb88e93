"""Checks of this machine: libraries, devices, models, space; and what to do about what is missing."""

import importlib
import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["ok", "missing", "broken"]

_OLDEST_PYTHON = (3, 11)
_HAND_VERTICES, _HAND_SIDE = 1609, '"wrist.R"'  # which identify the hand among Anny's models
_ANNY_CACHE_GB = 1.0
_LEAST_FREE_GB = 5.0  # Anny's cache, weights of a large encoder, and a few runs
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_GB = 1e9


@dataclass(frozen=True)
class Finding:
    """One line of output. Runs work without what is ``missing``, and fail with what is ``broken``."""

    subject: str
    state: State
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.state:8}{self.subject:14}{self.detail}" + (f"; {self.remedy}" if self.remedy else "")


def examine() -> Iterator[Finding]:
    """Every finding in turn, within seconds: nothing is built or downloaded.

    Where a library is broken, checks that need the libraries are left out.
    """
    libraries = [_python(), *_libraries()]
    yield from libraries
    yield _disk()
    yield _browser()
    if any(finding.state == "broken" for finding in libraries):
        return
    try:
        importlib.import_module("torch")
    except (ImportError, OSError) as error:
        yield Finding("torch", "broken", f"can't be loaded ({error})", "install it again")
        return
    yield _cpu()
    yield _gpu()
    yield _hand_model()
    yield _encoder_weights()
    yield _video()


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("python", "broken", version, f"use {'.'.join(map(str, _OLDEST_PYTHON))} or newer")
    return Finding("python", "ok", f"{version}, {sys.executable}")


def _libraries() -> Iterator[Finding]:
    """The project's own version, and every library that it declares to need."""
    try:
        own = importlib.metadata.distribution("posebridge")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("posebridge", "broken", "not installed in this environment", "run make setup, or pip install .")
        return
    yield Finding("posebridge", "ok", own.version)
    installed: list[str] = []
    for requirement in own.requires or []:
        match = re.match(r"([\w.-]+)\s*(?:>=\s*([\w.]+))?", requirement)
        if match is None or "extra ==" in requirement:
            continue
        name, least = match.groups()
        problem, version = _library(name, least)
        if problem:
            yield Finding(name, "broken", problem, f"pip install '{name}{f'>={least}' if least else ''}'")
        else:
            installed.append(f"{name} {version}")
    if installed:
        yield Finding("libraries", "ok", ", ".join(installed))


def _library(name: str, least: str | None) -> tuple[str, str]:
    """What is wrong with an installed library ("" for nothing), and its version."""
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed", ""
    if least is not None and _numbers(version) < _numbers(least):
        return f"{version} is older than {least}", version
    return "", version


def _numbers(version: str) -> tuple[int, ...]:
    """The release part of a version: 2.11.0+cpu as (2, 11, 0)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match.group().split("."))) if match else ()


def _cpu() -> Finding:
    import torch

    able = torch.cpu.get_capabilities()
    units = [name for name in ("amx_bf16", "avx512_bf16", "bf16") if able.get(name)]
    half = f"bf16 is native ({units[0]})" if units else "bf16 is emulated and slow: keep 32-bit precision here"
    return Finding("cpu", "ok", f"{torch.get_num_threads()} threads on {os.cpu_count()} cores, {half}")


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("gpu", "missing", "none that torch can use", "runs use the CPU: take --preset small")
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return Finding("gpu", "ok", ", ".join(f"{p.name}, {p.total_memory / _GB:.0f} GB" for p in properties))


def _hand_model() -> Finding:
    """Whether Anny's cache holds its hand. File names are the same for all models, so headers are read."""
    folder = Path(os.environ.get("ANNY_CACHE_DIR", Path.home() / ".cache" / "anny"))
    if any(_is_hand(path) for path in folder.glob("v*/build_compact_model_data_*.safetensors")):
        return Finding("hand model", "ok", f"built, in {folder}")
    remedy = f"the first render builds it: about a minute, {_ANNY_CACHE_GB:g} GB in {folder}"
    return Finding("hand model", "missing", "not built yet", remedy)


def _is_hand(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            vertices = file.get_slice("template_vertices").get_shape()[0]
            return vertices == _HAND_VERTICES and _HAND_SIDE in (file.metadata() or {}).get("metadata", "")
    except (SafetensorError, OSError):
        return False


def _encoder_weights() -> Finding:
    """Which of timm's weights are in the cache of the Hugging Face hub; nothing is looked up online."""
    from huggingface_hub.constants import HF_HUB_CACHE

    files = Path(HF_HUB_CACHE).glob("models--timm--*/snapshots/*/*.safetensors")
    names = sorted({path.parts[-4].removeprefix("models--timm--") for path in files if path.exists()})
    if names:
        return Finding("encoders", "ok", f"cached weights: {', '.join(names)}")
    remedy = "pretrained=timm downloads them; without a network name a local file, or keep pretrained=none"
    return Finding("encoders", "missing", f"no weights of timm in {HF_HUB_CACHE}", remedy)


def _video() -> Finding:
    import av

    if "libx264" in av.codecs_available:
        return Finding("video", "ok", f"PyAV {av.__version__}, overlays as H.264")
    return Finding(
        "video", "missing", f"PyAV {av.__version__} without libx264", "overlays are written as MPEG-4 part 2"
    )


def _disk() -> Finding:
    free_gb = {path: shutil.disk_usage(path).free / _GB for path in (Path.cwd(), Path.home())}
    detail = ", ".join(f"{free:.0f} GB free at {path}" for path, free in free_gb.items())
    if min(free_gb.values()) < _LEAST_FREE_GB:
        return Finding("disk", "missing", detail, f"runs and caches need some {_LEAST_FREE_GB:g} GB: free some space")
    return Finding("disk", "ok", detail)


def _browser() -> Finding:
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if found:
        return Finding("browser", "ok", f"{found}, for the tests of the report")
    return Finding("browser", "missing", "no Chromium", "only the report's tests use it (Debian: apt install chromium)")
