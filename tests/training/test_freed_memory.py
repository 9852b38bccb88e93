import platform
import subprocess
import sys

import pytest

from posebridge.training import freed_memory
from posebridge.training.freed_memory import keep_freed_memory

_FAULTS = """
import resource, sys
import numpy as np
from posebridge.training.freed_memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(2**26, dtype=np.uint8)  # more than 32 MB, up to which glibc learns to keep memory by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def _faults(argument: str) -> int:
    """Page faults of four arrays of 64 MB, allocated and freed in a process of their own."""
    done = subprocess.run([sys.executable, "-c", _FAULTS, argument], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory on demand")
def test_freed_pages_are_used_again():
    assert _faults("kept") < 32
    # Of huge pages, if numpy gets them, one array fills 32.
    assert _faults("returned") >= 4 * 32


def test_other_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(freed_memory.platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
