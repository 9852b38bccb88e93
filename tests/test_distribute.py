"""Workers of this machine, and a Ray cluster of two machines (both on this one, with a scheduler and a store each)."""

import functools
import importlib.util
import operator
import os
import signal
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from recipes.small_sets import CONFIG, contents

from data.on_disk import truncate, write_image
from deployment.rigged import small_model
from posebridge import cli
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.shards import load_index
from posebridge.distribute import Workers
from posebridge.errors import InputError

PIECES = list(range(20))
double = functools.partial(operator.mul, 2)


def die_once(marker: Path, piece: int) -> int:
    """Kills the process that does it, the first time that piece 3 is tried."""
    if piece == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * piece


def die(piece: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return piece


def machine(piece: int) -> str:
    import ray

    time.sleep(0.2)
    return ray.get_runtime_context().get_node_id()


def counted(taken: list[int]):
    for piece in PIECES:
        taken.append(piece)
        yield piece


@pytest.fixture(scope="module")
def two_machines():
    """Address of a Ray cluster with two nodes of one processor each."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed: pip install 'posebridge[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    store = {"num_cpus": 1, "object_store_memory": 100 << 20}
    before = signal.getsignal(signal.SIGTERM)
    cluster = Cluster(initialize_head=True, head_node_args={**store, "include_dashboard": False})
    cluster.add_node(**store)
    signal.signal(signal.SIGTERM, before)  # a cluster in this process takes it, which is a matter of these tests alone
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the cluster doesn't have this file
    yield cluster.address
    cluster.shutdown()
    signal.signal(signal.SIGTERM, before)


# This process, and processes beside it


def test_alone():
    taken: list[int] = []
    results = Workers().run(double, counted(taken))
    assert next(results) == (0, 0)
    assert taken == [0]
    assert list(results) == [(n, 2 * n) for n in PIECES[1:]]


@pytest.mark.parametrize("ordered", [False, True])
def test_processes(ordered):
    taken: list[int] = []
    results = Workers(2).run(double, counted(taken), ordered)
    found = [next(results)]
    assert len(taken) <= 4  # two for each, and no more until one is done
    found += results
    assert (found if ordered else sorted(found)) == [(n, 2 * n) for n in PIECES]


def test_an_error_of_the_work_is_passed_on():
    with pytest.raises(InputError, match=r"absent holds no index\.json"):
        list(Workers(2).run(load_index, [Path("absent")] * 3))


def test_a_process_that_dies_is_told_in_one_line():
    with pytest.raises(InputError, match="a worker process died") as told:
        list(Workers(2).run(die, PIECES))
    assert "\n" not in str(told.value)


def test_workers_that_can_not_be():
    for options, message in (((0,), "0 workers are impossible"), ((2, "auto"), "either workers")):
        with pytest.raises(InputError, match=message):
            Workers(*options)


# A cluster


@pytest.mark.slow
def test_ray_leaves_the_signals_alone(two_machines):
    before = signal.getsignal(signal.SIGTERM)
    assert len(list(Workers(ray=two_machines).run(double, PIECES))) == len(PIECES)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "no.such.host.invalid:6379", "nonsense", "auto"])
def test_no_cluster(address, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address == "auto":  # looks at all processes of the machine, where another test may have a cluster right now
        refusal = mock.Mock(side_effect=ConnectionError("Could not find any running Ray instance."))
        monkeypatch.setattr(ray, "init", refusal)
    with pytest.raises(InputError, match=f"no Ray cluster at {address}") as told:
        list(Workers(ray=address).run(double, PIECES))
    assert "\n" not in str(told.value)


def test_without_ray(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'posebridge\[ray\]'"):
        list(Workers(ray="auto").run(double, PIECES))


@pytest.mark.slow
def test_on_a_cluster(two_machines, tmp_path):
    taken: list[int] = []
    results = Workers(ray=two_machines).run(double, counted(taken), ordered=True)
    found = [next(results)]
    assert len(taken) <= 4
    assert found + list(results) == [(n, 2 * n) for n in PIECES]
    nodes: set[str] = set()
    for _, node in Workers(ray=two_machines).run(machine, range(300)):  # a busy machine's worker may start late
        nodes.add(node)
        if len(nodes) == 2:
            break
    assert len(nodes) == 2
    with pytest.raises(InputError, match=r"absent holds no index\.json") as told:
        list(Workers(ray=two_machines).run(load_index, [Path("absent")]))
    assert "\n" not in str(told.value)
    with pytest.raises(InputError, match="the Ray cluster has no GPU"):
        list(Workers(ray=two_machines).run(double, PIECES, gpus=1))


@pytest.mark.slow
def test_a_piece_whose_process_dies_is_tried_again(two_machines, tmp_path):
    work = functools.partial(die_once, tmp_path / "died")
    assert sorted(Workers(ray=two_machines).run(work, PIECES[:6])) == [(n, 2 * n) for n in PIECES[:6]]
    assert (tmp_path / "died").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_set_is_the_same_wherever_it_is_rendered(two_machines, tmp_path):
    from posebridge.recipes.render import render_set

    render_set(CONFIG, tmp_path / "here")
    done = render_set(CONFIG, tmp_path / "there", Workers(ray=two_machines))
    assert done.rendered == CONFIG.count
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("where", ["processes", "cluster"])
def test_predictions_are_the_same_wherever_they_are_made(where, request, tmp_path):
    small_model(tmp_path / "model")
    for i in range(7):
        write_image(tmp_path / "in" / f"{i}.jpg", 120, 90, seed=i)
    truncate(tmp_path / "in" / "3.jpg")
    flags = ("--workers", "2") if where == "processes" else ("--ray", request.getfixturevalue("two_machines"))
    command = ["predict", str(tmp_path / "model"), str(tmp_path / "in"), "--batch-size", "2", "--out"]
    assert cli.main([*command, str(tmp_path / "here"), "--device", "cpu"]) == 0
    assert cli.main([*command, str(tmp_path / "there"), *flags]) == 0
    here, there = (contents(tmp_path / name) for name in ("here", "there"))
    assert here.pop("predictions.npz")
    assert there.pop("predictions.npz")
    assert here == there  # drawings and the list of what was skipped
    a, b = (KeypointSet.load(tmp_path / name / "predictions.npz") for name in ("here", "there"))
    for name in ("key", "uv_px", "xyz_mm", "confidence"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert a.key.tolist() == ["0", "1", "2", "4", "5", "6"]
