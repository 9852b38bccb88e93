"""The lower bound: training on labels of the source alone."""

from dataclasses import dataclass

from posebridge.methods.base import Method, MethodConfig, Stages
from posebridge.training.context import Context


@dataclass(frozen=True)
class SourceOnlyConfig(MethodConfig):
    """No settings: the preset holds the source training."""


class SourceOnly(Method[SourceOnlyConfig]):
    """Supervised learning on the source."""

    def stages(self, context: Context) -> Stages:
        """None: the source model is the result."""
        yield from ()
