"""Workers of this machine, and a Ray cluster of two nodes, both on this machine."""

import functools
import importlib.util
import operator
import os
import signal
from unittest import mock

import numpy as np
import pytest

import pieces
from data.on_disk import truncate, write_image
from data.small_rendered_set import CONFIG, contents
from deployment.rigged import small_model
from posebridge.cli.main import main
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.distribute import Workers
from posebridge.errors import InputError

PIECES = list(range(20))
double = functools.partial(operator.mul, 2)


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
    signal.signal(signal.SIGTERM, before)  # the cluster of these tests takes it in this process
    ray.cloudpickle.register_pickle_by_value(pieces)  # the cluster does not have this file
    yield cluster.address
    cluster.shutdown()
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def connected_cluster(two_machines):
    """Address of the cluster, with this process connected, so that tests share workers with torch loaded."""
    import ray

    before = signal.getsignal(signal.SIGTERM)
    ray.init(address=two_machines, log_to_driver=False, logging_level="ERROR")
    yield two_machines
    ray.shutdown()
    signal.signal(signal.SIGTERM, before)


# Processes of this machine


def test_one_process_runs_pieces_in_turn():
    taken: list[int] = []
    results = Workers().run(double, counted(taken))
    assert next(results) == (0, 0)
    assert taken == [0]
    assert list(results) == [(n, 2 * n) for n in PIECES[1:]]


@pytest.mark.parametrize("ordered", [False, True])
def test_processes_take_pieces_as_they_become_free(ordered):
    taken: list[int] = []
    results = Workers(2).run(double, counted(taken), ordered)
    found = [next(results)]
    assert len(taken) <= 4  # two per process, and no more until one is done
    found += results
    assert (found if ordered else sorted(found)) == [(n, 2 * n) for n in PIECES]


def test_errors_of_the_work_are_raised():
    with pytest.raises(InputError, match="piece 0 is refused"):
        list(Workers(2).run(pieces.refuse, [0] * 3))


def test_dead_worker_process_raises_one_line():
    with pytest.raises(InputError, match="a worker process died") as raised:
        list(Workers(2).run(pieces.kill_process, PIECES))
    assert "\n" not in str(raised.value)


def test_invalid_workers_are_refused():
    for options, message in (((0,), "0 workers are impossible"), ((2, "auto"), "either workers")):
        with pytest.raises(InputError, match=message):
            Workers(*options)


# A Ray cluster


@pytest.mark.slow
def test_ray_keeps_the_handler_of_sigterm(two_machines):
    before = signal.getsignal(signal.SIGTERM)
    assert len(list(Workers(ray=two_machines).run(double, PIECES))) == len(PIECES)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "no.such.host.invalid:6379", "nonsense", "auto"])
def test_absent_cluster_raises_one_line(address, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address == "auto":  # checks all processes of the machine, where another test may have a cluster
        refusal = mock.Mock(side_effect=ConnectionError("Could not find any running Ray instance."))
        monkeypatch.setattr(ray, "init", refusal)
    with pytest.raises(InputError, match=f"no Ray cluster at {address}") as raised:
        list(Workers(ray=address).run(double, PIECES))
    assert "\n" not in str(raised.value)


def test_missing_ray_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'posebridge\[ray\]'"):
        list(Workers(ray="auto").run(double, PIECES))


@pytest.mark.slow
def test_cluster_runs_pieces_in_order_on_all_nodes(two_machines):
    taken: list[int] = []
    results = Workers(ray=two_machines).run(double, counted(taken), ordered=True)
    found = [next(results)]
    assert len(taken) <= 4
    assert found + list(results) == [(n, 2 * n) for n in PIECES]
    nodes: set[str] = set()
    for _, node in Workers(ray=two_machines).run(
        pieces.ray_node, range(300)
    ):  # a worker may start late on a busy machine
        nodes.add(node)
        if len(nodes) == 2:
            break
    assert len(nodes) == 2
    with pytest.raises(InputError, match="piece 0 is refused") as raised:
        list(Workers(ray=two_machines).run(pieces.refuse, [0]))
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="the Ray cluster has no GPU"):
        list(Workers(ray=two_machines).run(double, PIECES, gpus=1))


@pytest.mark.slow
def test_cluster_retries_pieces_whose_process_dies(two_machines, tmp_path):
    work = functools.partial(pieces.kill_process_once, tmp_path / "died")
    assert sorted(Workers(ray=two_machines).run(work, PIECES[:6])) == [(n, 2 * n) for n in PIECES[:6]]
    assert (tmp_path / "died").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_rendered_sets_do_not_depend_on_workers(connected_cluster, tmp_path):
    from posebridge.data.rendered_set import render_set

    render_set(CONFIG, tmp_path / "here")
    done = render_set(CONFIG, tmp_path / "there", Workers(ray=connected_cluster))
    assert done.rendered == CONFIG.count
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("where", ["processes", "cluster"])
def test_predictions_do_not_depend_on_workers(where, request, tmp_path):
    small_model(tmp_path / "model")
    for i in range(7):
        write_image(tmp_path / "in" / f"{i}.jpg", 120, 90, seed=i)
    truncate(tmp_path / "in" / "3.jpg")
    flags = ("--workers", "2") if where == "processes" else ("--ray", request.getfixturevalue("connected_cluster"))
    command = ["predict", str(tmp_path / "model"), str(tmp_path / "in"), "--batch-size", "2", "--out"]
    assert main([*command, str(tmp_path / "here"), "--device", "cpu"]) == 0
    assert main([*command, str(tmp_path / "there"), *flags]) == 0
    here, there = (contents(tmp_path / name) for name in ("here", "there"))
    assert here.pop("predictions.npz")
    assert there.pop("predictions.npz")
    assert here.pop("predict.yaml") != there.pop("predict.yaml")  # settings, of which workers are one
    assert here == there  # drawings and the list of skipped frames
    a, b = (KeypointSet.load(tmp_path / name / "predictions.npz") for name in ("here", "there"))
    for name in ("key", "uv_px", "xyz_mm", "confidence"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert a.key.tolist() == ["0", "1", "2", "4", "5", "6"]
