"""Drops calibrated views whose hand lies elsewhere than in the other views of the same moment.

That happens where a calibration, a time stamp or a centre is wrong.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import compress, groupby
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.cameras.multiview import inverse_rigid, transform
from posebridge.contracts.batch import BatchT, Observation, concatenate

ItemT = TypeVar("ItemT")


def agreeing_views(crops: Iterable[BatchT], cube_m: float, dropped: dict[str, str]) -> Iterator[BatchT]:
    """Yields the crops whose cube holds the hand's centre of the other views.

    ``crops`` are batches of one, the views of a moment one after the other. ``cube_m`` is the side of the cube.
    Crops without a pose, or without another view of their moment, pass. Otherwise the largest group that agrees with
    one view passes; of two views that disagree, none. ``dropped`` receives the keys of the others, with the reason.
    """
    for _, group in groupby(crops, key=moment_of):
        singles = list(group)
        views = concatenate(singles)
        agrees = _agreeing(views, cube_m)
        if not agrees.all():
            dropped |= dict.fromkeys(compress(views.key, ~agrees), _reason(views, cube_m))
        yield from compress(singles, agrees)


def in_whole_moments(
    items: Iterable[ItemT], size: int, crop_of: Callable[[ItemT], Observation]
) -> Iterator[list[ItemT]]:
    """Groups of ``size`` items, or more, so that all views of a moment are in one. They follow one another."""
    waiting: list[ItemT] = []
    for item in items:
        if len(waiting) >= size and moment_of(crop_of(item)) != moment_of(crop_of(waiting[-1])):
            yield waiting
            waiting = []
        waiting.append(item)
    if waiting:
        yield waiting


def moment_of(crop: Observation) -> tuple[str, int]:
    """Sequence and frame of a batch of one."""
    assert crop.sequence is not None
    assert crop.frame is not None
    return crop.sequence[0], int(crop.frame)


def _agreeing(views: Observation, cube_m: float) -> Bool[Tensor, "V"]:
    if len(views) == 1 or views.T_world_cam is None:
        return torch.ones(len(views), dtype=torch.bool)
    near = _centre_distances_m(views) < cube_m / 2
    most = near[near.sum(1).argmax()]
    return most & (most.sum() > 1)


def _reason(views: Observation, cube_m: float) -> str:
    apart = f"the hands in the views of its moment are {_centre_distances_m(views).max():.2f} m apart in the world"
    if (_centre_distances_m(views, inverted=True) < cube_m / 2).all():
        return f"{apart}, and together if T_world_cam is inverted: it has to take a camera's points to the world"
    return f"{apart}: check T_world_cam, their times and the centres"


def _centre_distances_m(views: Observation, inverted: bool = False) -> Float[Tensor, "V V"]:
    """Distances between the views' centres in the world."""
    assert views.T_world_cam is not None
    assert views.centre_m is not None
    T_world_cam = views.T_world_cam.double()
    T_world_cam = inverse_rigid(T_world_cam) if inverted else T_world_cam
    world_m = transform(T_world_cam, views.centre_m[:, None].double())[:, 0]
    return torch.cdist(world_m, world_m)
