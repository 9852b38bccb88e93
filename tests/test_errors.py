from posebridge.data.frames import UnreadableFrameError
from posebridge.errors import InputError, first_line, last_line


def test_names_from_files_leave_one_printable_line():
    message = str(InputError("boxes b.json: the key 'a\nb\u202etxt\udcf1' occurs twice"))
    assert message == "boxes b.json: the key 'a\\nb\\u202etxt\\xf1' occurs twice"
    assert str(InputError("häuser/手 \U0001f44b.png: no such file")) == "häuser/手 \U0001f44b.png: no such file"
    assert str(InputError("\x1b[2J")) == "\\x1b[2J"


def test_a_long_message_keeps_both_ends():
    message = str(InputError("labels.npz: the name " + "x" * 1_000_000 + " occurs twice: give each once"))
    assert message.startswith("labels.npz: the name xxx")
    assert message.endswith("x occurs twice: give each once")
    assert len(message) < 410
    assert len(str(InputError("\n" * 5000))) < 410
    assert len(UnreadableFrameError("a.png", "x" * 5000).reason) < 410


def test_lines_of_errors_without_a_message():
    for error in (RuntimeError(""), RuntimeError(), RuntimeError(" \n\n ")):
        assert first_line(error) == last_line(error) == "RuntimeError"
    assert first_line(RuntimeError("\nno such device\nCUDA kernel errors\n")) == "no such device"
    assert last_line(InputError("Traceback:\n  x\nInputError: a.png is broken\n")) == "InputError: a.png is broken"
