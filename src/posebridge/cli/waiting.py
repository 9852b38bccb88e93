"""How the threads of one computation wait for one another: asleep.

By default, OpenMP's threads spin for milliseconds before they sleep, also where another program needs the core. Beside
other programs, two threads are then many times slower than one (``benchmarks/busy_cores.py``).
"""

import os
from collections.abc import MutableMapping

WAIT_ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}  # of GNU's, LLVM's and Intel's OpenMP
_CHOICES = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}


def wait_asleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set it for libraries that this process and its workers load later.

    Nothing is set where the user has chosen how threads wait.
    """
    if not environment.keys() & _CHOICES:
        environment.update(WAIT_ASLEEP)
