"""``posebridge predict-depth``."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from posebridge.deployment.predict_config import PredictDepthConfig


@dataclass(frozen=True)
class PredictDepthCommand:
    """Predict joints and meshes of hands in depth, in the frame of the camera.

    Writes predictions.npz (key, joint_names, uv_px, xyz_mm, confidence), the meshes, images of them, and skipped.json,
    the list of frames that could not be used. --formats adds COCO, CSV and glTF.
    """

    config: Annotated[PredictDepthConfig, arg(name="")]

    def run(self) -> None:
        """Predict, and print what was written and what was skipped."""
        from posebridge.deployment.predict_depth import predict_depth_files

        print(predict_depth_files(self.config))
