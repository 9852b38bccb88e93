"""Ctrl-c between two steps, never in the middle of one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StoppedError(Exception):
    """Training stopped because it was asked to, with everything saved."""


class StopRequest:
    """Takes note of ctrl-c, so that the step under way can end and be saved. A second ctrl-c is not held back."""

    def __init__(self):
        self.made = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Heed ctrl-c here. Outside the main thread, where Python delivers no signals, this does nothing."""
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
