from posebridge.methods.source_only import SourceOnly, SourceOnlyConfig
from posebridge.training.source_training import SourceTrainingConfig
from training.dots import SCHEDULE, context, small_network

CONFIG = SourceOnlyConfig(SourceTrainingConfig(schedule=SCHEDULE, batch_size=4))


def test_one_stage_without_a_choice_by_the_target():
    ((stage, selection),) = SourceOnly(CONFIG).stages(context())
    assert stage.name == "source"
    assert selection is None
    assert list(stage.streams) == ["source"]


def test_a_target_is_not_needed():
    assert len(list(SourceOnly(CONFIG).stages(context(target=None)))) == 1


def test_nothing_is_left_to_do_for_a_trained_network():
    assert list(SourceOnly(CONFIG).stages(context(source_network=small_network()))) == []
