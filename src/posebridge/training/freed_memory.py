"""Memory of training on a CPU: what a step frees is kept for the next one."""

import ctypes
import platform

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # M_... of glibc's malloc.h
_MOST = 2**31 - 1
_PAD = 64 * 2**20


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory of this process until it ends. Returns whether it does: only with glibc.

    Every step allocates the same large tensors. By default, each of them is mapped anew and cleared by the system, page
    by page, and unmapped when it is freed (``benchmarks/freed_memory.py``).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    values = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _MOST), (_TOP_PAD, _PAD))
    return all(library.mallopt(name, value) == 1 for name, value in values)
