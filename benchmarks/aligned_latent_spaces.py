"""Strategies of aligned latent spaces on SynthShift: errors in space with root and scale given.

python benchmarks/aligned_latent_spaces.py --strategies R2P,R2CHP,RC2CHP-KL,RC2CHP --seeds 3 --json FILE
python benchmarks/aligned_latent_spaces.py --strategies RC2CHP --labelled 50,100,200 --seeds 3 --json FILE

Strategies are the rows of Table 5.1 of Yang, dissertation 2022 (presets/aligned_latent_spaces.py). With --labelled,
each is trained on so many samples with joints; those with clouds also with the others as weak labels (Fig. 5.8).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import torch
import tyro

from over_seeds import OverSeeds, seeds_table
from posebridge.errors import InputError
from posebridge.evaluation.evaluate import evaluate
from posebridge.evaluation.protocols import PCK_005
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.evaluation_sets import truth_of
from posebridge.experiments.synthshift import SynthShiftOutcome, run_synthshift
from posebridge.experiments.synthshift_sets import SynthShiftSets, render_sets
from posebridge.methods.registry import find_method
from posebridge.networks.pose_network import PoseNetwork
from posebridge.presets.aligned_latent_spaces import METHOD, STRATEGIES, config_in, with_method
from posebridge.presets.preset import Change, Preset
from posebridge.presets.table import find_preset
from posebridge.skeletons.hand import HAND21
from studies import chosen, errors_of

COLUMNS = ("EPE mm", "PA mm", "PCK@0.05", "ms an image", "minutes")
# Root and scale are given: the root is the base of the middle finger, the scale the length of the reference bone.
_PROTOCOL = replace(PCK_005, root="middle_1")
_TIMED = 50  # predictions of one image


@dataclass(frozen=True)
class Study(OverSeeds):
    """Train strategies and print their table."""

    strategies: Annotated[
        str, tyro.conf.arg(help=f"Strategies, separated by commas. There are: {', '.join(STRATEGIES)}.")
    ] = "R2P,R2CHP,RC2CHP-KL,RC2CHP"

    labelled: str | None = None
    """Numbers of samples with joints, separated by commas: without weak labels, and with. Default: all samples."""

    samples: int | None = None
    """Number of samples of the source. Default: the preset's."""

    steps: int | None = None
    """Steps of training. Default: the preset's."""

    target_domain: str = "studio"
    """Domain of the scored images; studio is that of the source."""

    out: Path = Path("runs/aligned-latent-spaces")
    """Folder of the runs. Finished runs are not trained again."""


def run(config: Study) -> list[dict[str, Any]]:
    """All rows. Raises ``InputError`` for an unknown strategy, and for numbers that are none."""
    names = chosen(config.strategies, STRATEGIES, "strategy")
    named = find_preset("synthshift/hand-rgb", config.preset, METHOD)
    settings = {
        f"{name}{suffix}": (name, change)
        for name in names
        for suffix, change in _labelled(config, weak=config_in(STRATEGIES[name](named)).clouds is not None).items()
    }
    rows: list[dict[str, Any]] = []
    for seed in config.seed_numbers:
        synthshift = SynthShiftConfig(
            method=METHOD, preset=config.preset, seed=seed, target_domain=config.target_domain, sets=config.sets
        )
        sets = render_sets(synthshift, _sized(config, named), find_method(METHOD))
        for label, (name, labelled) in settings.items():

            def change(preset: Preset, strategy=STRATEGIES[name], labelled=labelled) -> Preset:
                return labelled(strategy(_sized(config, preset)))

            folder = config.out / f"{config.preset}-{config.target_domain}-{seed}" / label.replace(" ", "-")
            outcome = run_synthshift(synthshift, folder, config.hardware, change=change, sets=sets)
            rows.append({"strategy": label, **_numbers(outcome, sets)})
            config.save(rows)
    return config.with_others(rows)


def _labelled(config: Study, weak: bool) -> dict[str, Change]:
    """The numbers of labelled samples, by what is added to a row's name; ``weak``: also with weak labels."""
    if config.labelled is None:
        return {"": lambda preset: preset}
    if not all(part.isdigit() for part in config.labelled.split(",")):
        raise InputError(f"--labelled {config.labelled}: give numbers of samples, separated by commas")
    counts = [int(part) for part in config.labelled.split(",")]
    return {
        f" {count}{' weak' if others else ''}": with_method(
            labelled=count, **({} if others else {"weak_batch_size": 0})
        )
        for count in counts
        for others in ((False, True) if weak else (False,))
    }


def _sized(config: Study, preset: Preset) -> Preset:
    """The preset with the numbers of samples and steps that are given."""
    if config.samples is not None:
        preset = replace(preset, data=replace(preset.data, source=config.samples))
    if config.steps is not None:
        schedule = replace(config_in(preset).schedule, steps=config.steps)
        preset = with_method(schedule=schedule)(preset)
    return preset


def _numbers(outcome: SynthShiftOutcome, sets: SynthShiftSets) -> dict[str, Any]:
    predictions = outcome.predictions["source_only"]
    truth = truth_of(sets.test_target.without_images(), HAND21.joints)
    image_px = sets.test_target[0].rgb.shape[-1]
    score = evaluate(predictions.keypoints, truth, image_px, _PROTOCOL)
    network = outcome.trained["source_only"].network
    assert isinstance(network, PoseNetwork)
    return {
        **outcome.row(),
        **errors_of(score),
        "ms an image": _milliseconds(network, image_px),
    }


@torch.inference_mode()
def _milliseconds(network: PoseNetwork, image_px: int) -> float:
    """Time of the prediction of one image on one core."""
    network, image, threads = network.cpu().eval(), torch.zeros(1, 3, image_px, image_px), torch.get_num_threads()
    torch.set_num_threads(1)
    network.predict(image)
    started = perf_counter()
    for _ in range(_TIMED):
        network.predict(image)
    seconds = perf_counter() - started
    torch.set_num_threads(threads)
    return 1000 * seconds / _TIMED


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and standard error over seeds, as Markdown."""
    return seeds_table(rows, "strategy", COLUMNS, lambda column: 3 if column == "PCK@0.05" else 1)


if __name__ == "__main__":
    try:
        print(table(run(tyro.cli(Study))))
    except InputError as error:
        raise SystemExit(f"aligned_latent_spaces: {error}") from None
