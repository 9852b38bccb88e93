"""The lower bound: labels of the source, and nothing from the target."""

from dataclasses import dataclass

from posebridge.methods.base import Method, MethodConfig, Stages
from posebridge.training.context import Context


@dataclass(frozen=True)
class SourceOnlyConfig(MethodConfig):
    """Nothing: the preset's source training is all there is."""


class SourceOnly(Method[SourceOnlyConfig]):
    """Supervised learning on the source."""

    def stages(self, context: Context) -> Stages:
        """None: the source model is the result."""
        yield from ()
