"""Runs that must be refused before anything is rendered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.small_runs import ONE_CPU
from posebridge.errors import InputError


def refused(run: Callable, config: Any, folder: Path) -> str:
    """The one line of ``run_adapt`` or ``run_adapt_depth``; nothing was rendered, and no config blocks a good one."""
    existed = folder.exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("posebridge.experiments.renders.RenderLoader", lambda **_: pytest.fail("a set was rendered"))
        with pytest.raises(InputError) as error:
            run(config, folder, ONE_CPU)
    assert not (folder / "config.yaml").exists()
    assert folder.exists() == existed
    assert "\n" not in str(error.value)
    return str(error.value)
