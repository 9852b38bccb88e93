"""Fixtures of several files of tests of experiments."""

import pytest


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory):
    """The folders of the colour transfers' datasets, by the name of the transfer. Not to be changed."""
    from experiments.transfer_sets import write_sets

    return write_sets(tmp_path_factory.mktemp("datasets"))
