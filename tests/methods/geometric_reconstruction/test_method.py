"""The method's stages and their initial networks, the paper's numbers, and exact resuming."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from methods.stick_hands import (
    ALONE,
    CONFIG,
    RECONSTRUCTION,
    SCHEDULE,
    STEPS,
    changed,
    context,
    filmed,
    labelled,
    network,
    plan,
    state,
    train,
    with_reconstructor,
)
from networks.tiny_style import TINY
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.pairs import PairConfig
from posebridge.errors import InputError
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.method import GeometricReconstruction
from posebridge.networks.vgg import VggConfig
from posebridge.networks.weights import read_weights
from posebridge.training.frames import InMemoryFrames
from posebridge.training.source_training import SourceTrainingConfig
from posebridge.training.stage import Stage
from posebridge.training.style import AdaINStyle
from training.dots import all_stages, crash, disturb, files_of, finished

pytestmark = pytest.mark.usefixtures("one_thread")


SOURCE = SourceTrainingConfig(schedule=SCHEDULE, batch_size=4)
ADAIN = AdaINStyle(
    VggConfig(widths=(4, 6, 8), depths=(1, 1, 1), pretrained="none"), TINY, replace(SCHEDULE, steps=2), batch_size=2
)
ORDERS = {
    "the paper's": (
        replace(CONFIG, style=ADAIN),
        ["style", "pretraining", "warm-start", "reconstructor", "fine-tuning"],
    ),
    "a style that needs no training": (CONFIG, ["pretraining", "warm-start", "reconstructor", "fine-tuning"]),
    "plain training first": (
        replace(CONFIG, from_source_model=True, pretraining=None, style=None),
        ["source", "warm-start", "reconstructor", "fine-tuning"],
    ),
    "pseudo-labels alone": (ALONE, ["pretraining", "warm-start", "fine-tuning"]),
    "guided by heat maps": (
        with_reconstructor(guide="heatmaps"),
        ["pretraining", "warm-start", "reconstructor", "fine-tuning"],
    ),
    "a background that moves": (
        CONFIG.with_moving_camera(),
        ["pretraining", "warm-start", "reconstructor", "fine-tuning"],
    ),
}


@pytest.mark.parametrize("order", ORDERS)
def test_stages_in_order(order):
    config, names = ORDERS[order]
    method, made = GeometricReconstruction(config), context()
    stages = method.stages(made) if config.starts_untrained else all_stages(method, SOURCE, made)
    assert [stage.name for stage, _ in stages] == names


def test_full_run(tmp_path):
    config, names = ORDERS["the paper's"]
    stages = train(tmp_path, config, selection=plan())
    assert [stage.name for stage in stages] == names
    assert [path.name for path in sorted((tmp_path / "stages").iterdir())] == [
        f"{number}-{name}" for number, name in enumerate(names, 1)
    ]
    for stage in stages:
        assert stage.latest.keys() == {"loss", *stage.term_weights}
        assert all(value.isfinite() for value in stage.latest.values())
    kept = read_weights(tmp_path / "stages" / "5-fine-tuning" / "result.safetensors")
    assert kept.keys() == network().state_dict().keys()


def test_checkpoints_are_selected_in_adapting_stages_only():
    chosen = plan()
    made = context(selection=chosen)
    plans = {}
    for stage, selection in GeometricReconstruction(CONFIG).stages(made):
        plans[stage.name] = selection
    assert plans == {"pretraining": None, "warm-start": chosen, "reconstructor": None, "fine-tuning": chosen}


def test_each_stage_starts_from_the_result_of_the_one_before(tmp_path):
    run = {}
    for number, (stage, _) in enumerate(GeometricReconstruction(CONFIG).stages(context()), 1):
        run[stage.name] = stage
        if stage.name == "warm-start":
            start = state(run["pretraining"].result())
            assert not changed(stage.student, start)
            assert not changed(stage.teacher, start)
        if stage.name == "reconstructor":
            assert not changed(stage.network, state(run["warm-start"].result()))
        if stage.name == "fine-tuning":
            assert not changed(stage.student, state(run["warm-start"].result()))
            assert not changed(stage.reconstructor, state(run["reconstructor"].result()))
            assert stage.reconstructor is not run["reconstructor"].result()
        before = parameters(stage)
        finished(tmp_path / str(number), stage)
        assert parameters(stage) != before, f"{stage.name} has not moved its network"


def parameters(stage) -> list[float]:
    """Parameters, which only an optimiser changes, unlike batch statistics."""
    moved = stage.reconstructor if stage.name == "reconstructor" else getattr(stage, "student", None) or stage.network
    return [value.double().sum().item() for value in moved.parameters()]


def test_a_given_source_network_is_used():
    given = network(seed=7)
    config = replace(CONFIG, from_source_model=True, pretraining=None)
    first, _ = next(iter(GeometricReconstruction(config).stages(context(source_network=given))))
    assert first.name == "warm-start"
    assert not changed(first.student, state(given))
    with pytest.raises(ValueError, match="source-trained network"):
        next(GeometricReconstruction(config).stages(context()))
    before = state(given)
    pretraining, _ = next(iter(GeometricReconstruction(CONFIG).stages(context(source_network=given))))
    assert pretraining.network is not given
    assert not changed(pretraining.network, before)


@pytest.mark.parametrize("missing", ["sequences", "pairs that are near enough"])
def test_a_target_without_pairs_is_refused_before_anything_is_trained(missing):
    frames = filmed().unlabelled()
    frames = replace(frames, sequence=None) if missing == "sequences" else replace(frames, frame=100 * frames.frame)
    called = []
    made = context(frames, new_network=lambda: called.append(1))
    with pytest.raises(InputError, match="give"):
        next(iter(GeometricReconstruction(CONFIG).stages(made)))
    assert not called
    stills = InMemoryFrames(InMemoryDataset([frames]), seed=4)
    with pytest.raises(InputError, match="form no pairs: give videos"):
        next(iter(GeometricReconstruction(CONFIG).stages(context(target=stills))))
    filming = replace(CONFIG, reconstruction=replace(RECONSTRUCTION, source_videos=True))
    source = InMemoryFrames(InMemoryDataset([labelled()]), seed=3)
    with pytest.raises(InputError, match="form no pairs: give videos"):
        next(iter(GeometricReconstruction(filming).stages(context(source=source))))
    first, _ = next(iter(GeometricReconstruction(ALONE).stages(context(target=stills))))
    assert first.name == "pretraining"


def test_pseudo_labels_alone_keep_steps_and_learning_rates():
    """80 epochs of 500 steps, of them 20 of warm start; a tenth of the rate at epochs 60 and 75."""
    full = GeometricReconstructionConfig()
    alone = full.without_reconstruction()
    assert alone == replace(full, reconstruction=None)
    assert (alone.warm_start.steps, alone.schedule.steps) == (20 * 500, 60 * 500)
    rates = [alone.schedule.rate_factor(500 * (epoch - 20)) for epoch in (20, 59, 60, 74, 75)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert alone.with_moving_camera() is alone
    once = full.one_cycle()
    assert once.steps == 80 * 500
    assert [round(drop * once.steps) for drop in once.drops] == [60 * 500, 75 * 500]


def test_the_defaults_are_the_papers():
    config = GeometricReconstructionConfig()
    assert config.pretraining is not None
    assert config.reconstruction is not None
    assert config.pretraining.schedule.steps == 40 * 500
    assert (config.pretraining.batch_size, config.batch_size) == (64, 32)
    assert config.pretraining.schedule.learning_rate == config.schedule.learning_rate == 1e-4
    assert (config.pretraining.alignment_weight, config.pretraining.temperature) == (0.1, 0.5)
    assert (config.reconstruction.weight, config.pseudo_label_weight, config.labels.pose_weight) == (0.1, 0.1, 0.1)
    assert config.reconstruction.pairs == PairConfig((5, 15))
    assert config.labels.combination == "separate_then_union"


def collected(folder: Path) -> dict[str, tuple[bytes, str]]:
    return {path.name: files_of(path) for path in sorted((folder / "stages").iterdir())}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, tuple[bytes, str]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("undisturbed")
    train(folder)
    torch.set_num_threads(threads)
    return collected(folder)


@pytest.mark.parametrize(("name", "step"), [("reconstructor", 0), ("reconstructor", 2), ("fine-tuning", 0)])
def test_resuming_after_a_crash_is_bit_exact(name, step, tmp_path, undisturbed):
    def disturb_stage(stage: Stage) -> None:
        if stage.name == name:
            disturb(stage, {step: crash})

    with pytest.raises(RuntimeError, match="power cut"):
        train(tmp_path, watch=disturb_stage)
    torch.rand(5)  # a new process has another global random state
    begun = {}

    def note(stage: Stage) -> None:
        begun[stage.name] = disturb(stage, {})

    train(tmp_path, watch=note)
    order = ["pretraining", "warm-start", "reconstructor", "fine-tuning"]
    for stage in order[: order.index(name)]:
        assert begun[stage] == []
    assert begun[name][0] == step
    assert collected(tmp_path) == undisturbed


def test_resuming_after_a_kill_is_bit_exact(tmp_path, undisturbed):
    script = Path(__file__).parent / "killed_method.py"
    done = subprocess.run([sys.executable, script, tmp_path, "fine-tuning", "3"], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    checkpoint = torch.load(tmp_path / "stages" / "4-fine-tuning" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    begun = {}
    train(tmp_path, watch=lambda stage: begun.update({stage.name: disturb(stage, {})}))
    assert begun["fine-tuning"] == list(range(3, 2 * STEPS))
    assert collected(tmp_path) == undisturbed
