"""Shared fixtures. Slow imports are inside, so that tests without them start at once."""

from collections.abc import Iterator

import pytest

import shape_checks

shape_checks.install()  # before any test file imports posebridge


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets that train in a second or two."""
    from experiments.small_runs import shrink

    shrink(monkeypatch)


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory):
    """A user's images on disk, and their labels."""
    from experiments.small_runs import write_target

    return write_target(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="session")
def adapted(target, tmp_path_factory: pytest.TempPathFactory):
    """The folder of a run of ``adapt`` with mean-teacher on the target, and its record. Not to be changed."""
    from experiments.small_runs import ONE_CPU, shrink
    from posebridge.data.target import TargetConfig
    from posebridge.experiments.adapt import run_adapt
    from posebridge.experiments.configs import AdaptConfig

    folder = tmp_path_factory.mktemp("runs") / "adapted"
    target_config = TargetConfig(target.images)
    config = AdaptConfig(
        method="mean-teacher", target=target_config, source="renders", domain="studio", truth=target.truth
    )
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return folder, run_adapt(config, folder, ONE_CPU)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tiny networks train many times faster on one thread than on several."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
