"""Gradient norms of the weighted terms at the start of fine-tuning, in the encoder of a briefly trained network."""

from dataclasses import replace

import pytest
import torch

from loss_terms import relative_norms
from methods.stick_hands import RECONSTRUCTION, RECONSTRUCTOR, context, network
from posebridge.data.pairs import PairConfig
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.fine_tuning import FineTuning, Phase
from posebridge.methods.geometric_reconstruction.perceptual_features import VggFeatures
from posebridge.methods.geometric_reconstruction.reconstructor_training import ReconstructorTraining
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.networks.vgg import VggConfig
from posebridge.presets.table import find_preset
from posebridge.representations.pose_maps import PoseMaps
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import SourceTraining, SourceTrainingConfig
from training.dots import finished

pytestmark = pytest.mark.usefixtures("one_thread")
SCHEDULE = Schedule(steps=80, learning_rate=3e-3, decay="none")
PAPER = replace(
    GeometricReconstructionConfig(),
    pretraining=None,
    style=None,
    batch_size=4,
    reconstruction=replace(
        RECONSTRUCTION, features=VggFeatures(VggConfig((16, 32, 64), (1, 1, 1), "none"), scales=(1.0, 0.5))
    ),
)


def small() -> GeometricReconstructionConfig:
    config = find_preset("synthshift/hand-rgb", "small", "geometric-reconstruction").config_of(
        "geometric-reconstruction"
    )
    assert isinstance(config, GeometricReconstructionConfig)
    assert config.reconstruction is not None
    tiny = replace(
        config.reconstruction, reconstructor=RECONSTRUCTOR, source_videos=False, pairs=PairConfig((1, 4)), batch_pairs=4
    )
    return replace(config, batch_size=4, reconstruction=tiny)


# With squared errors averaged over pixels in place of norms, reconstruction has hundreds of times the gradient of
# ``heat`` in the paper's preset.
BANDS = {
    "paper": {
        "depth": (0.01, 0.5),
        "pseudo_heat": (0.1, 1.0),
        "pseudo_pose": (0.005, 0.5),
        "reconstruction": (0.02, 2.0),
    },
    "small": {
        "depth": (0.03, 1.0),
        "pseudo_heat": (0.5, 5.0),
        "pseudo_pose": (0.2, 3.0),
        "reconstruction": (1.0, 20.0),
    },
}


@pytest.mark.parametrize(
    ("name", "config", "maps"),
    [("paper", PAPER, PoseMaps("peak", sigma=1.5)), ("small", small(), PoseMaps("softmax", sigma=1.5))],
    ids=["paper", "small"],
)
def test_terms_have_comparable_gradients(name, config, maps, tmp_path):
    """It trains a network and a reconstructor first, as both decide how the terms compare."""
    made = context()
    torch.manual_seed(0)
    trained = PoseResNet(network().config, maps)
    settings = SourceTrainingConfig(SCHEDULE, batch_size=16, depth_weight=0.1)
    finished(tmp_path / "source", SourceTraining(settings, made, trained))
    assert config.reconstruction is not None
    brief = replace(config.reconstruction, schedule=replace(SCHEDULE, steps=40))
    reconstructor = ReconstructorTraining(config.geometry, brief, made, trained)
    finished(tmp_path / "reconstructor", reconstructor)
    stage = FineTuning(config, Phase(config.schedule), made, trained, None, reconstructor.result())
    norms = relative_norms(stage, 4)
    assert norms.keys() == stage.term_weights.keys()
    for term, (least, most) in BANDS[name].items():
        assert least < norms[term] < most, term
