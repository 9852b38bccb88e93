"""An endless stream of labelled samples in which sample i is a function of the domain and the seed alone."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch

from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.synthesis.depth_scene import DepthHandDomain
from posebridge.synthesis.domains import Domain, render, subject_of, views_per_scene
from posebridge.synthesis.video import Shot, sample_shot

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
    """Single scenes, each of another subject; the images of a scene's views stand together."""

    @property
    def chunk_length(self) -> int:
        """Images of a chunk: ``CHUNK`` scenes from all their views."""
        return CHUNK * views_per_scene(self.domain)

    def chunk(self, index: int) -> LabelledBatch:
        """Images ``index * chunk_length`` to ``(index + 1) * chunk_length``."""
        batch = render(self.domain, CHUNK, self.size_px, generator_for(self.seed, index))
        first, views = index * CHUNK, views_per_scene(self.domain)
        scenes = [f"{self.domain.name}-{self.seed}-{first + i:08d}" for i in range(CHUNK)]
        if views == 1:
            return replace(batch, key=tuple(scenes))
        return replace(
            batch,
            key=tuple(f"{scene}_{view}" for scene in scenes for view in range(views)),
            sequence=tuple(scene for scene in scenes for _ in range(views)),
            frame=torch.zeros(len(batch), dtype=torch.long),
        )


@dataclass(frozen=True)
class VideoSamples(SampleStream):
    """Sequences of ``frames`` pictures, one after the other, each of one subject before a camera that stands still."""

    frames: int = 64

    def __post_init__(self):
        if self.frames < 1:
            raise InputError(f"frames={self.frames}: give the length of a sequence, 1 or more")
        if isinstance(self.domain, DepthHandDomain):
            raise InputError("there are no videos of depth sensors yet: leave frames out for sets of single moments")

    @property
    def chunk_length(self) -> int:
        """Images of a chunk."""
        return CHUNK

    def chunk(self, index: int) -> LabelledBatch:
        """Images ``index * CHUNK`` to ``(index + 1) * CHUNK``, from as many sequences as they fall into."""
        image, end, parts = index * CHUNK, (index + 1) * CHUNK, []
        while image < end:
            number, start = divmod(image, self.frames)
            count = min(self.frames - start, end - image)
            parts.append(self._named(self._shot(number).frames(start, count), number))
            image += count
        return concatenate(parts)

    @cached_property
    def _shot(self) -> Callable[[int], Shot]:
        """Shots by number; the last one is kept, since chunks are asked for in order."""

        def draw(number: int) -> Shot:
            assert not isinstance(self.domain, DepthHandDomain)
            subject = subject_of(self.domain)
            return sample_shot(subject, self.frames, self.size_px, (self.seed, number))

        return lru_cache(maxsize=1)(draw)

    def _named(self, batch: LabelledBatch, number: int) -> LabelledBatch:
        assert batch.frame is not None
        name = f"{self.domain.name}-{self.seed}-{number:06d}"
        return replace(
            batch,
            key=tuple(f"{name}_{frame:06d}" for frame in batch.frame.tolist()),
            sequence=(name,) * len(batch),
        )
