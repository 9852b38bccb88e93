import pytest

from posebridge.methods.source_only import SourceOnly, SourceOnlyConfig
from posebridge.training.source_training import SourceTrainingConfig
from training.dots import SCHEDULE, all_stages, context, small_network

METHOD = SourceOnly(SourceOnlyConfig())
SOURCE = SourceTrainingConfig(schedule=SCHEDULE, batch_size=4)


def test_one_stage_without_checkpoint_selection():
    ((stage, selection),) = all_stages(METHOD, SOURCE, context())
    assert stage.name == "source"
    assert selection is None
    assert list(stage.streams) == ["source"]


def test_a_target_is_not_needed():
    assert len(list(all_stages(METHOD, SOURCE, context(target=None)))) == 1


def test_a_trained_network_needs_no_stage():
    assert list(all_stages(METHOD, SOURCE, context(source_network=small_network()))) == []


def test_a_preset_without_source_training_is_refused():
    with pytest.raises(ValueError, match="no source training"):
        next(METHOD.source_stages(None, context()))
