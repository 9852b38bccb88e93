"""An endless stream of labelled samples in which sample i is a function of the domain and the seed alone."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.draw import generator_for
from posebridge.synthesis.domains import HandDomain
from posebridge.synthesis.hand_scene import render_hands

CHUNK = 32  # samples are drawn and rendered this many at a time; part of the definition of sample i


@dataclass(frozen=True)
class HandSamples:
    """Rendered right hands of one domain."""

    domain: HandDomain
    size_px: int
    seed: int

    def chunk(self, index: int) -> LabelledBatch:
        """Samples ``index * CHUNK`` to ``(index + 1) * CHUNK``."""
        batch = render_hands(self.domain, CHUNK, self.size_px, generator_for(self.seed, index))
        first = index * CHUNK
        return replace(batch, key=tuple(f"{self.domain.name}-{self.seed}-{first + i:08d}" for i in range(CHUNK)))

    def samples(self, start: int, count: int) -> LabelledBatch:
        """``count`` samples from ``start`` on."""
        first, last = start // CHUNK, (start + count - 1) // CHUNK
        whole = concatenate([self.chunk(index) for index in range(first, last + 1)])
        return whole[start - first * CHUNK : start - first * CHUNK + count]

    def chunks(self, count: int) -> Iterator[LabelledBatch]:
        """The first ``count`` samples, a chunk at a time; the last chunk is cut."""
        for index in range((count + CHUNK - 1) // CHUNK):
            yield self.chunk(index)[: min(CHUNK, count - index * CHUNK)]
