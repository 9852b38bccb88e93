"""Rendered sets of views of depth hands, shared by the tests of depth scenes. Not to be changed."""

import pytest

from posebridge.contracts.batch import LabelledBatch
from posebridge.synthesis.depth_scene import DEPTH_STREET, DEPTH_STUDIO
from synthesis.depth_sets import CLUTTERED, render


@pytest.fixture(scope="session")
def studio() -> LabelledBatch:
    return render(DEPTH_STUDIO)


@pytest.fixture(scope="session")
def street() -> LabelledBatch:
    return render(DEPTH_STREET)


@pytest.fixture(scope="session")
def cluttered() -> LabelledBatch:
    """Hands of the street before and behind clutter, with a clean sensor."""
    return render(CLUTTERED)
