"""Progress of a run from the bars that it prints (tqdm's)."""

import re
from dataclasses import asdict, dataclass
from typing import Any

# "2 mean-teacher:  40%|####      | 240/600 [01:00<01:30, 4.00step/s, loss=0.1234]"
_BAR = re.compile(
    r"(?P<label>[^|]+?):\s+\d+%\|[^|]*\|\s*(?P<done>\d+)/(?P<total>\d+) "
    r"\[(?P<elapsed>[\d:]+)<(?P<remaining>[\d:?]+), [^\]]*\]"
)
_LOSS = re.compile(r"loss=([\d.e+-]+)")
_RUN_LEFT = re.compile(r"run_left=((?:<1|\d+) min)")


@dataclass(frozen=True)
class StageProgress:
    """One stage of a run."""

    label: str  # such as "2 mean-teacher"
    done: int
    total: int
    elapsed_s: int
    remaining_s: int | None  # None: not known yet
    loss: float | None = None
    run_left: str | None = None  # of the whole run, such as "12 min"; None where no stage follows

    def as_json(self) -> dict[str, Any]:
        """The stage for the page."""
        return asdict(self)


def parse_progress(line: str) -> StageProgress | None:
    """The progress that a line shows; None for any other line."""
    match = _BAR.fullmatch(line)
    if match is None:
        return None
    loss, run_left = _LOSS.search(line), _RUN_LEFT.search(line)
    return StageProgress(
        label=match["label"].strip(),
        done=int(match["done"]),
        total=int(match["total"]),
        elapsed_s=_seconds(match["elapsed"]) or 0,
        remaining_s=_seconds(match["remaining"]),
        loss=None if loss is None else float(loss[1]),
        run_left=None if run_left is None else run_left[1],
    )


def _seconds(clock: str) -> int | None:
    """Seconds of H:MM:SS or MM:SS; None for a question mark."""
    if "?" in clock:
        return None
    seconds = 0
    for part in clock.split(":"):
        seconds = 60 * seconds + int(part)
    return seconds
