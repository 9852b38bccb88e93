"""An endless stream of labelled samples in which sample i is a function of the domain and the seed alone."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.draw import generator_for
from posebridge.synthesis.domains import Domain, subject_of
from posebridge.synthesis.scene import render_stills

CHUNK = 32  # scenes are drawn and rendered this many at a time; part of the definition of sample i


@dataclass(frozen=True)
class SampleStream(ABC):
    """Labelled images of one domain, in chunks, without end."""

    domain: Domain
    size_px: int
    seed: int

    @property
    @abstractmethod
    def chunk_length(self) -> int:
        """Images of a chunk."""

    @abstractmethod
    def chunk(self, index: int) -> LabelledBatch:
        """Images ``index * chunk_length`` to ``(index + 1) * chunk_length``."""

    def samples(self, start: int, count: int) -> LabelledBatch:
        """``count`` images from ``start`` on."""
        first, last = start // self.chunk_length, (start + count - 1) // self.chunk_length
        whole = concatenate([self.chunk(index) for index in range(first, last + 1)])
        return whole[start - first * self.chunk_length : start - first * self.chunk_length + count]

    def chunks(self, count: int) -> Iterator[LabelledBatch]:
        """The first ``count`` images, a chunk at a time; the last chunk is cut."""
        length = self.chunk_length
        for index in range((count + length - 1) // length):
            yield self.chunk(index)[: min(length, count - index * length)]


@dataclass(frozen=True)
class Samples(SampleStream):
    """Single pictures, each of another subject."""

    @property
    def chunk_length(self) -> int:
        """Images of a chunk."""
        return CHUNK

    def chunk(self, index: int) -> LabelledBatch:
        """Images ``index * CHUNK`` to ``(index + 1) * CHUNK``."""
        batch = render_stills(subject_of(self.domain), CHUNK, self.size_px, generator_for(self.seed, index))
        first = index * CHUNK
        return replace(batch, key=tuple(f"{self.domain.name}-{self.seed}-{first + i:08d}" for i in range(CHUNK)))
