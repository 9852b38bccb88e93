"""The exception for invalid user input."""


class InputError(Exception):
    """Invalid input. The message is one line: what is wrong, where, and what to do.

    Commands print the message after ``error:`` and exit with status 2; finished results stay on disk. Any other
    exception is a defect of posebridge and keeps its traceback.
    """
