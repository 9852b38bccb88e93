"""The second crop of a depth frame: a cube around the hand that is predicted in the first one.

The nearest blob's centre of mass lies some centimetres from the middle of the joints, towards the wrist. Training,
evaluation and prediction all take their second crops from here (``benchmarks/depth_crops.py``).
"""

from collections.abc import Callable, Iterator

import numpy as np

from posebridge.contracts.batch import BatchT, Observation, UnlabelledBatch, concatenate
from posebridge.data.agreeing_views import agreeing_views, in_whole_moments
from posebridge.data.depth_target import DepthCrops
from posebridge.data.filled_cubes import filled_cube
from posebridge.deployment.depth_predictor import DepthHands, HandPredictor
from posebridge.deployment.predictor import Predictor


def refined_crops(
    predictor: Predictor | HandPredictor,
    first: BatchT,
    recrop: Callable[[int, np.ndarray], BatchT | None],
    cube_m: float,
) -> BatchT:
    """The crops of a batch, each replaced by one around its predicted joints.

    ``first`` holds all views of its moments. ``recrop(i, centre_m)`` cuts the frame of crop ``i`` around a centre (3,)
    in the camera frame; None keeps the first crop, as does a new one that shows another hand than the moment's other
    views.
    """
    before = [first[i : i + 1] for i in range(len(first))]
    recut = [recrop(i, centre_m) for i, centre_m in enumerate(_middles_m(predictor, first))]
    chosen = [old if new is None else new for old, new in zip(before, recut, strict=True)]
    agreeing = {id(view) for view in agreeing_views(chosen, cube_m, {})}
    return concatenate([new if id(new) in agreeing else old for old, new in zip(before, chosen, strict=True)])


def depth_batches(crops: DepthCrops, predictor: Predictor, size: int) -> Iterator[UnlabelledBatch]:
    """Second crops of a stream, in batches of ``size`` or more, so that all views of a moment are in one."""
    crop = crops.crop
    for group in in_whole_moments(crops.with_frames(), size, lambda pair: pair[1]):
        frames = [frame for frame, _ in group]
        first = concatenate([cube for _, cube in group])
        if any(frame.centre_m is None for frame in frames):
            first = refined_crops(
                predictor, first, lambda i, centre_m, own=frames: filled_cube(own[i], centre_m, crop), crop.cube_m
            )
        yield first


def _middles_m(predictor: Predictor | HandPredictor, crops: Observation) -> np.ndarray:
    """Means of the predicted joints (B, 3), metres in the camera frame."""
    if isinstance(predictor, HandPredictor):
        return predicted_middle(predictor(crops.to(predictor.device), fused=False))
    xyz_mm = predictor.predict_batch(crops).xyz_mm
    assert xyz_mm is not None
    return 1e-3 * xyz_mm.mean(1)


def predicted_middle(hands: DepthHands) -> np.ndarray:
    """Means of the pixel-wise head's joints (B, 3) metres: the cube then doesn't follow a mesh that fits badly."""
    return hands.pixel_joints_m.mean(1).cpu().double().numpy()
