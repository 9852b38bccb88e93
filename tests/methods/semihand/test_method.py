"""The stages of the method, where they start, and what it refuses."""

from dataclasses import replace

import pytest
import torch

from methods.semihand.hands import CONFIG, context, small_network, target
from methods.semihand.test_source_stages import CONFIG as PRETRAINING
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.in_memory import InMemoryDataset
from posebridge.deployment.model_spec import HourglassPoseSpec, PoseSpec
from posebridge.errors import InputError
from posebridge.methods.semihand.circle_training import CircleTrainingConfig
from posebridge.methods.semihand.config import SemiHandConfig
from posebridge.methods.semihand.method import SemiHand
from posebridge.methods.semihand.settings import SETTINGS
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.networks.weights import read_weights
from posebridge.presets.semihand import METHOD, presets_of_settings
from posebridge.presets.table import find_preset
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.hand import HAND21
from posebridge.training.frames import InMemoryFrames
from posebridge.training.optimisers import Schedule
from posebridge.training.run import Run
from training.dots import ONE_CPU

pytestmark = pytest.mark.usefixtures("one_thread")
CIRCLES = CircleTrainingConfig(Schedule(steps=3, learning_rate=0.05), batch_size=4)
TINY = SemiHandConfig(model=None, pretraining=PRETRAINING, circles=CIRCLES, adaptation=CONFIG)


def names(config: SemiHandConfig, folder, **changes) -> list[str]:
    """The names of the stages, which are trained."""
    found = []
    for number, (stage, _) in enumerate(SemiHand(config).stages(context(**changes)), start=1):
        Run(folder, ONE_CPU).train(number, stage)
        found.append(stage.name)
    return found


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("full", ["pretraining", "circles", "adaptation"]),
        ("baseline", ["pretraining"]),
        ("pseudo-labels", ["pretraining", "adaptation"]),
        ("with-angles", ["pretraining", "circles", "adaptation"]),
    ],
)
def test_a_row_trains_what_it_needs(tmp_path, name, stages):
    assert names(SETTINGS[name](TINY), tmp_path) == stages


def test_it_starts_from_the_source_model_and_leaves_it_as_it_is(tmp_path):
    given = small_network(seed=3).requires_grad_(False)
    before = {name: value.clone() for name, value in given.state_dict().items()}
    stage, _ = next(SemiHand(TINY).stages(context(source_network=given)))
    assert torch.equal(stage.result().head.weight, given.head.weight)
    Run(tmp_path, ONE_CPU).train(1, stage)
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())
    assert not torch.equal(stage.result().head.weight, given.head.weight)


def test_the_saved_model_has_no_mask_head(tmp_path):
    names(TINY, tmp_path)
    saved = read_weights(tmp_path / "stages/3-adaptation/result.safetensors")
    assert set(saved) == set(small_network().state_dict())


def test_the_same_seed_gives_the_same_mask_head():
    first, second = (next(SemiHand(TINY).stages(context()))[0].network.heads[0].weight for _ in range(2))
    assert torch.equal(first, second)


def test_other_skeletons_are_refused():
    with pytest.raises(InputError, match="semihand adapts hands of skeleton hand21, not h36m17"):
        next(SemiHand(TINY).stages(context(skeleton=H36M17)))
    with pytest.raises(InputError, match="has no method semihand"):
        find_preset("adapt/body", "small", METHOD)


def test_a_target_of_one_frame_is_refused():
    one: UnlabelledBatch = target().unlabelled()[:1]
    with pytest.raises(InputError, match="this one has a single frame: give more images"):
        TINY.for_target(one)
    with pytest.raises(InputError, match="this one has a single frame"):
        next(SemiHand(TINY).stages(context(target=InMemoryFrames(InMemoryDataset([one]), 0))))
    assert TINY.for_target(target()) is TINY


@pytest.mark.parametrize("lengths", [(1.0,) * 19, (1.0,) * 19 + (0.0,)])
def test_templates_that_do_not_fit_are_refused_before_training(lengths):
    with pytest.raises(InputError, match=r"give 20 positive numbers, one for each bone of skeleton hand21"):
        next(SemiHand(replace(TINY, bone_lengths=lengths)).stages(context()))


def test_the_network_is_the_presets_or_an_hourglass():
    preset = PoseSpec(PoseResNetConfig(encoder="test_resnet"), size_px=128)
    assert TINY.model_spec(preset) is preset
    own = SemiHandConfig().model_spec(preset)
    assert isinstance(own, HourglassPoseSpec)
    assert (own.size_px, own.network.map_px, own.network.stacks, own.maps.decoding) == (128, 64, 2, "mean")
    given = HourglassPoseSpec(size_px=64, method="semihand")
    assert SemiHandConfig().model_spec(given) is given
    with pytest.raises(InputError, match="leave --encoder-weights out"):
        SemiHandConfig().with_encoder_weights("timm")
    assert TINY.with_encoder_weights("timm") is TINY


def test_presets_of_rows_differ_from_the_full_one_alone():
    full = find_preset("synthshift/hand-rgb", "small", METHOD)
    rows = {preset.name: preset for preset in presets_of_settings(full)}
    assert len(rows) == len(SETTINGS) - 1
    own = full.methods[METHOD]
    assert rows["small-semihand-baseline"].methods[METHOD] == replace(own, adaptation=None)
    assert presets_of_settings(find_preset("synthshift/body-rgb", "small", "mean-teacher")) == ()
    assert full.model_of(METHOD).skeleton == HAND21.name
