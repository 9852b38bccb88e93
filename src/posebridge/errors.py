"""Exceptions for invalid user input, and for a request to end the process."""

import signal

_HEAD, _TAIL = 300, 100  # characters that remain of a long message: what is wrong and where; what to do


class InputError(Exception):
    """Invalid input. The message is one line: what is wrong, where, and what to do.

    Names from files may hold anything. Characters that are not printable are escaped, and a message of more than some
    400 characters loses its middle. Commands print the message after ``error:`` and exit with status 2; finished
    results stay on disk. Any other exception is a defect of posebridge and keeps its traceback.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class TerminatedError(SystemExit):
    """SIGTERM was received. Where nothing catches it, the process ends with code 143, as shells report that signal."""

    def __init__(self):
        super().__init__(128 + signal.SIGTERM)


def printable(text: str) -> str:
    """The text on one line: without its middle where it is long, and with escapes for what is not printable.

    A byte of a file name that is no UTF-8 becomes ``\\xf1``, a mark of text direction ``\\u202e``.
    """
    return _shortened("".join(c if c.isprintable() else _escape(c) for c in _shortened(text)))


def one_line(error: BaseException) -> str:
    """An error's message on one line, or its kind where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of an error's message that is not empty, or its kind where it has none."""
    return next(iter(_lines(error)), type(error).__name__)


def last_line(error: BaseException) -> str:
    """The last line of an error's message that is not empty, or its kind where it has none."""
    return next(reversed(_lines(error)), type(error).__name__)


def _lines(error: BaseException) -> list[str]:
    text = Exception.__str__(error) if isinstance(error, InputError) else str(error)  # before it is escaped
    return [line.strip() for line in text.splitlines() if line.strip()]


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for a byte of a name
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def _shortened(text: str) -> str:
    return text if len(text) <= _HEAD + _TAIL + 5 else f"{text[:_HEAD]} ... {text[-_TAIL:]}"
