"""``posebridge predict``."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from posebridge.deployment.predict_config import PredictConfig


@dataclass(frozen=True)
class PredictCommand:
    """Predict joints in images or videos, in pixels of the files as they lie on disk.

    Writes predictions.npz (key, joint_names, uv_px, xyz_mm, confidence), the skeletons drawn over the frames, and
    skipped.json, the list of files that could not be read. --formats adds COCO, CSV and glTF.
    """

    config: Annotated[PredictConfig, arg(name="")]

    def run(self) -> None:
        """Predict, and print what was written and what was skipped."""
        from posebridge.deployment.predict_files import predict_files

        print(predict_files(self.config))
