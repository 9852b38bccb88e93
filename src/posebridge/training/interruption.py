"""Stops training after ctrl-c or SIGTERM, between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from posebridge.errors import TerminatedError


class StoppedError(Exception):
    """Training was stopped on request, after a checkpoint was saved."""


class StopRequest:
    """Records ctrl-c and SIGTERM, so that the current step ends and is saved. A second one ends training at once."""

    def __init__(self):
        self._signal: int | None = None

    @property
    def made(self) -> bool:
        """Whether one of the signals has come."""
        return self._signal is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Record both within this block. Does nothing outside the main thread, where Python delivers no signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with ExitStack() as restored:
            for number in (signal.SIGINT, signal.SIGTERM):
                restored.callback(signal.signal, number, signal.signal(number, self._note))
            yield

    def exception(self) -> BaseException:
        """What ends the run after the request."""
        return TerminatedError() if self._signal == signal.SIGTERM else KeyboardInterrupt()

    def _note(self, number: int, _: object) -> None:
        if self.made:
            raise self.exception()
        self._signal = number
