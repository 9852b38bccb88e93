"""A fresh process prints nothing when it first uses Anny and Warp."""

import resource
import subprocess
import sys

from posebridge.bodies.anny import anny_hand

CODE = """
import runpy
runpy.run_module("posebridge.bodies.anny", run_name="__main__")
import torch
from posebridge.rendering.rasterise_warp import rasterise
rasterise(torch.rand(1, 3, 3) + 1, torch.tensor([[0, 1, 2]]), torch.eye(3)[None], 4, 4)
"""


def test_loading_a_cached_hand_and_rasterising_print_nothing():
    anny_hand("right")  # in the cache from here on
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 20  # a build takes 35 s
