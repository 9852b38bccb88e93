"""Annotated shapes are checked while tests run."""

import pytest
import torch
from jaxtyping import TypeCheckError

from posebridge.cameras.crop import inverse_map
from shape_checks import _modules


def test_a_wrong_shape_is_refused():
    with pytest.raises(TypeCheckError, match="inverse_map"):
        inverse_map(torch.eye(4)[None])


def test_modules_are_found():
    modules = _modules()
    assert len(modules) > 30
    assert "posebridge.cameras.crop" in modules
