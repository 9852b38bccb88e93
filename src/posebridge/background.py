"""Threads beside the caller: items that are read ahead, and calls that are carried out behind."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self, TypeVar

ItemT = TypeVar("ItemT")
_END: Any = object()


def read_ahead(items: Iterable[ItemT], count: int) -> Iterator[ItemT]:
    """Yields the items in order, while a thread takes up to ``count`` further ones.

    An exception of the iterable is raised after the items before it. The iterable is used by that thread alone. It is
    not advanced further once the generator is closed.
    """
    source = iter(items)
    thread = ThreadPoolExecutor(1, "read-ahead")
    try:
        waiting = deque(thread.submit(next, source, _END) for _ in range(count))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(thread.submit(next, source, _END))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)


class CallsBehind:
    """Carries out calls in order in a thread; ``add`` waits where ``count`` of them are not finished.

    An exception of a call is raised by a later ``add`` or on exit. Calls that have not begun are dropped where the
    block ends with an exception.
    """

    def __init__(self, count: int):
        self._count = count
        self._thread = ThreadPoolExecutor(1, "calls-behind")
        self._waiting: deque[Future[object]] = deque()

    def add(self, call: Callable[..., object], *arguments: object) -> None:
        """Carry out ``call(*arguments)`` later."""
        self._finish(self._count - 1)
        self._waiting.append(self._thread.submit(call, *arguments))

    def _finish(self, count: int) -> None:
        """Wait until at most ``count`` calls are not finished."""
        while len(self._waiting) > count:
            self._waiting.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish(0)
        finally:
            self._thread.shutdown(cancel_futures=True)
