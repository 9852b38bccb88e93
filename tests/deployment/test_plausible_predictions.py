import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deployment.rigged import SPEC, DotFinder, draw_dots
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.target import TargetConfig
from posebridge.deployment import torch_crops
from posebridge.deployment.model_file import LoadedModel
from posebridge.deployment.plausible_predictions import implausible_frames
from posebridge.deployment.predict_files import PredictConfig, predict_files
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.hand import HAND21


@pytest.mark.parametrize(("skeleton", "size_mm"), [(HAND21, 180), (H36M17, 1700)])
def test_sizes_of_predictions(skeleton, size_mm):
    line = np.linspace(0, 1, len(skeleton))[:, None] * [0, size_mm, 0]
    sizes = np.array([1, 100, 0.01, 1e24])[:, None, None]
    keypoints = KeypointSet(np.array(list("abcd")), skeleton.joints, xyz_mm=(sizes * line).astype(np.float32))
    assert list(implausible_frames(keypoints, skeleton)) == ["b", "c", "d"]
    assert implausible_frames(replace(keypoints, xyz_mm=None, uv_px=line[None, :, :2]), skeleton) == {}


def test_implausible_predictions_are_kept_and_listed(tmp_path, monkeypatch):
    spec = replace(SPEC, reference_length_m=50.0)  # of a hand of some hundred metres
    monkeypatch.setattr(torch_crops, "load_model", lambda path, *kinds: LoadedModel(kinds[0], spec, DotFinder()))
    (tmp_path / "in").mkdir()
    dots = np.array([[70.3, 62.8], [45.6, 30.2], [82.1, 25.4]])
    Image.fromarray(draw_dots(120, 90, dots)).save(tmp_path / "in" / "a.png")
    done = predict_files(PredictConfig(Path("model"), TargetConfig(tmp_path / "in"), tmp_path / "out", device="cpu"))
    assert KeypointSet.load(done.predictions).key.tolist() == ["a"]
    listed = tmp_path / "out" / "skipped.json"
    assert "across a hand's joints, expected 20 to 500 mm" in json.loads(listed.read_text())["warnings"]["a"]
    line = str(done).splitlines()[-1]
    assert line.startswith(
        f"warning: 1 of 1 predictions have no possible size (listed in {listed}), such as a: it measures"
    )
