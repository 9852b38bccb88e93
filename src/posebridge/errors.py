"""The exception for invalid user input."""

_HEAD, _TAIL = 300, 100  # characters that remain of a long message: what is wrong and where; what to do


class InputError(Exception):
    """Invalid input. The message is one line: what is wrong, where, and what to do.

    Names from files may hold anything. Characters that are not printable are escaped, and a message of more than some
    400 characters loses its middle. Commands print the message after ``error:`` and exit with status 2; finished
    results stay on disk. Any other exception is a defect of posebridge and keeps its traceback.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    """The text on one line: without its middle where it is long, and with escapes for what is not printable."""
    return _shortened("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in _shortened(text)))


def _shortened(text: str) -> str:
    return text if len(text) <= _HEAD + _TAIL + 5 else f"{text[:_HEAD]} ... {text[-_TAIL:]}"
