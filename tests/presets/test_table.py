from collections import Counter

from posebridge.deployment.model_kinds import kind_of_spec
from posebridge.deployment.model_spec import skeleton_of
from posebridge.methods.registry import METHODS, default_method
from posebridge.presets.table import PRESETS


def test_each_method_has_one_preset_of_a_name():
    found = Counter((preset.family, preset.name, method) for preset in PRESETS for method in preset.methods)
    assert {*found.values()} == {1}
    assert {method for _, _, method in found} == {*METHODS}


def test_networks_fit_their_skeleton():
    for preset in PRESETS:
        assert kind_of_spec(preset.model).spec is type(preset.model)
        assert preset.model.network.joints == len(skeleton_of(preset.model))


def test_configs_are_those_of_the_methods():
    for preset in PRESETS:
        for method, config in preset.methods.items():
            METHODS[method].build(config)


def test_defaults():
    """Each sensor and form of target has at most one default method, and one method is the upper bound."""
    defaults = [(sensor, entry.target) for entry in METHODS.values() for sensor in entry.default_for]
    assert sorted(defaults) == [("colour", "images"), ("colour", "pairs"), ("depth", "views")]
    assert default_method("colour", "images").name == "mean-teacher"
    assert [entry.name for entry in METHODS.values() if entry.role == "supervised_target"] == ["supervised-target"]
