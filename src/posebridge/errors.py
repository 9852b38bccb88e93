"""The one error that a user is meant to see."""


class InputError(Exception):
    """Bad input, told in one line: what was wrong, where, and what to do.

    Commands print its message after ``error:`` and exit with status 2; everything already computed stays on
    disk. Anything else that is raised is a defect of posebridge and keeps its traceback.
    """
