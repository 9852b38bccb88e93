"""Endless streams of labelled samples. Sample i depends only on the domain, the image size, the seed and i."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch

from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.synthesis.contents import check_contents, render_contents
from posebridge.synthesis.depth_scene import DepthHandDomain
from posebridge.synthesis.domains import Domain, render, subject_of, views_per_scene
from posebridge.synthesis.video import Shot, sample_shot

CHUNK = 32  # scenes per rendered chunk; changing it changes every sample


@dataclass(frozen=True)
class SampleStream(ABC):
    """Labelled images of one domain, rendered in chunks of fixed length."""

    domain: Domain
    size_px: int
    seed: int

    @property
    @abstractmethod
    def chunk_length(self) -> int:
        """Images per chunk."""

    @abstractmethod
    def chunk(self, index: int) -> LabelledBatch:
        """Images ``index * chunk_length`` to ``(index + 1) * chunk_length``."""

    def samples(self, start: int, count: int) -> LabelledBatch:
        """Images ``start`` to ``start + count``."""
        first, last = start // self.chunk_length, (start + count - 1) // self.chunk_length
        whole = concatenate([self.chunk(index) for index in range(first, last + 1)])
        return whole[start - first * self.chunk_length : start - first * self.chunk_length + count]

    def chunks(self, count: int) -> Iterator[LabelledBatch]:
        """The first ``count`` images in chunks; the last chunk may be shorter."""
        length = self.chunk_length
        for index in range((count + length - 1) // length):
            yield self.chunk(index)[: min(length, count - index * length)]


@dataclass(frozen=True)
class Samples(SampleStream):
    """Independent scenes, one subject each. The views of a scene are adjacent.

    With ``contents``, so many contents recur (``synthesis.contents``), and samples of one are a sequence. Raises
    ``InputError`` for an impossible number of them, and for contents of depth.
    """

    contents: int = 0  # 0: each scene has its own

    def __post_init__(self):
        check_contents(self.contents)
        if self.contents and isinstance(self.domain, DepthHandDomain):
            raise InputError("contents recur in colour alone: leave contents out")

    @property
    def chunk_length(self) -> int:
        """Images per chunk: ``CHUNK`` scenes times the views of a scene."""
        return CHUNK * views_per_scene(self.domain)

    def chunk(self, index: int) -> LabelledBatch:
        """Images ``index * chunk_length`` to ``(index + 1) * chunk_length``."""
        if self.contents:
            return self._of_contents(index)
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

    def _of_contents(self, index: int) -> LabelledBatch:
        assert not isinstance(self.domain, DepthHandDomain)
        generator = generator_for(self.seed, index)
        batch, content = render_contents(subject_of(self.domain), CHUNK, self.contents, self.size_px, generator)
        name, first = f"{self.domain.name}-{self.seed}", index * CHUNK
        return replace(
            batch,
            key=tuple(f"{name}-{first + i:08d}" for i in range(CHUNK)),
            sequence=tuple(f"{name}-content{number:02d}" for number in content),
            frame=torch.arange(first, first + CHUNK),
        )


@dataclass(frozen=True)
class VideoSamples(SampleStream):
    """Consecutive videos of ``frames`` images, each of one moving subject and a fixed camera.

    Raises ``InputError`` for less than one frame, and for depth domains.
    """

    frames: int = 64

    def __post_init__(self):
        if self.frames < 1:
            raise InputError(f"frames={self.frames}: give the length of a video, 1 or more")
        if isinstance(self.domain, DepthHandDomain):
            raise InputError("depth domains have no videos: leave frames out to get sets of views")

    @property
    def chunk_length(self) -> int:
        """Images per chunk."""
        return CHUNK

    def chunk(self, index: int) -> LabelledBatch:
        """Images ``index * CHUNK`` to ``(index + 1) * CHUNK``; they may span several videos."""
        image, end, parts = index * CHUNK, (index + 1) * CHUNK, []
        while image < end:
            number, start = divmod(image, self.frames)
            count = min(self.frames - start, end - image)
            parts.append(self._named(self._shot(number).frames(start, count), number))
            image += count
        return concatenate(parts)

    @cached_property
    def _shot(self) -> Callable[[int], Shot]:
        """Shots by number. The last one is cached, since consecutive chunks share it."""

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
