import pytest
import torch

from posebridge.data.in_memory import InMemoryDataset
from posebridge.methods.supervised_target import SupervisedTarget, SupervisedTargetConfig
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames
from posebridge.training.source_training import SourceTrainingConfig
from training.dots import SCHEDULE, VIEWS, context, dots, finished, small_network

pytestmark = pytest.mark.usefixtures("one_thread")
TRAINING = SourceTrainingConfig(schedule=SCHEDULE, batch_size=4, geometry=VIEWS)
TARGET = InMemoryDataset([dots(20, seed=7, ground=0.3)])


METHOD = SupervisedTarget(SupervisedTargetConfig(TRAINING))


def on_labels(**changes) -> Context:
    """The runner's context: the labelled target in place of the source."""
    return context(source=InMemoryFrames(TARGET, seed=6), **changes)


def test_trains_on_the_source_and_then_on_target_labels():
    ((source, _),) = METHOD.source_stages(TRAINING, context())
    ((supervised, _),) = METHOD.stages(on_labels(source_network=source.result()))
    stages = [source, supervised]
    assert [stage.name for stage in stages] == ["source", "supervised-target"]
    drawn = [stage.streams["source"].batch(0).key[0].split("-")[0] for stage in stages]
    assert drawn == ["1", "7"]


def test_a_source_network_is_needed():
    with pytest.raises(ValueError, match="source-trained network"):
        next(METHOD.stages(on_labels()))


def test_fine_tunes_a_copy_of_the_given_network(tmp_path):
    network = small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ((stage, selection),) = METHOD.stages(on_labels(source_network=network))
    assert selection is None
    start = stage.result().state_dict()
    assert all(torch.equal(value, start[name]) for name, value in before.items())
    finished(tmp_path, stage)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert any(not torch.equal(value, before[name]) for name, value in stage.result().state_dict().items())
