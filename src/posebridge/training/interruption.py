"""Stops training after ctrl-c, between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StoppedError(Exception):
    """Training was stopped on request, after a checkpoint was saved."""


class StopRequest:
    """Records ctrl-c, so that the current step ends and is saved. A second ctrl-c interrupts at once."""

    def __init__(self):
        self.made = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Record ctrl-c within this block. Does nothing outside the main thread, where Python delivers no signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _note(self, *_: object) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.made = True
