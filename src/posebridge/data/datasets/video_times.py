"""Whether frames of one number show one moment in the videos of several cameras."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from posebridge.data.datasets.video_index import VideoIndex
from posebridge.errors import InputError

_REMEDY = "cameras need frames at the same times: export their videos at one constant rate"


def check_same_times(videos: Mapping[Path, VideoIndex]) -> None:
    """Compare each video's times, counted from its first frame, with those of the first video.

    Raises ``InputError`` where frames of one number are half a frame apart or more, as at different or variable rates,
    and for a video without times beside others.
    """
    if len(videos) < 2:
        return
    times = {path: index.times_s() for path, index in videos.items()}
    (first, reference), *others = times.items()
    for path, times_s in times.items():
        if times_s is None:
            raise InputError(f"{path}: its frames carry no times; {_REMEDY}, as mp4")
    for path, times_s in others:
        assert times_s is not None
        assert reference is not None
        both = min(len(reference), len(times_s))
        if both < 2:
            continue
        apart_s = np.abs(times_s[:both] - reference[:both])
        late = np.flatnonzero(apart_s >= np.nanmedian(np.diff(reference)) / 2)
        if len(late):
            frame = int(late[0])
            raise InputError(
                f"{path}: frame {frame} is shown at {times_s[frame]:.3f} s, but at {reference[frame]:.3f} s in "
                f"{first.name}; {_REMEDY}"
            )
