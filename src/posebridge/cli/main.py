"""The ``posebridge`` command.

A command is a frozen dataclass. Its flags are the fields of the configs that it holds, and its ``run`` calls one
function. Heavy libraries are imported inside ``run``, so that help appears at once and ``report`` never loads torch.
"""

import io
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Never

from posebridge.cli.waiting import wait_asleep
from posebridge.errors import InputError, TerminatedError

INPUT_ERROR, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 2 for bad input (an error of one line), 130 after ctrl-c, or 143 after SIGTERM."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may hold bytes that are no UTF-8
    wait_asleep()  # before a command imports torch
    try:
        with _sigterm_raises():
            _run(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return INPUT_ERROR
    except BrokenPipeError:  # the reader of the output has ended, such as head
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        print("stopped: finished results are on disk", file=sys.stderr)
        return INTERRUPTED
    except TerminatedError as ended:
        print("terminated: finished results are on disk", file=sys.stderr)
        return int(ended.code or 0)
    return 0


def _run(arguments: Sequence[str] | None) -> None:
    # Imported here, so that ctrl-c during the import ends in one line, too.
    import tyro

    from posebridge.cli.commands import COMMANDS, with_method_flag

    command = tyro.extras.subcommand_cli_from_dict(
        dict(COMMANDS),
        prog="posebridge",
        description="Train hand and body pose estimators without one label from the place where they will be used.",
        args=with_method_flag(sys.argv[1:] if arguments is None else arguments),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    command.run()


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Raise ``TerminatedError`` on SIGTERM within this block, unless the caller of the process handles or ignores it.

    Does nothing outside the main thread, where Python delivers no signals.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(*_: Any) -> Never:
    raise TerminatedError


if __name__ == "__main__":
    sys.exit(main())
