"""Threads wait asleep, unless the user chooses otherwise."""

import subprocess
import sys

import pytest

from posebridge.cli.waiting import WAIT_ASLEEP, wait_asleep

LOADED_LATER = """
import os, sys
from posebridge.cli.main import main
main(["report", "absent"])
assert "torch" not in sys.modules
print(os.environ.get("OMP_WAIT_POLICY"))
"""


def test_nothing_is_chosen():
    environment = {"OMP_NUM_THREADS": "2"}
    wait_asleep(environment)
    assert environment == {"OMP_NUM_THREADS": "2", **WAIT_ASLEEP}


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_the_users_choice_stays(name):
    environment = {name: "1"}
    wait_asleep(environment)
    assert environment == {name: "1"}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"), ({"GOMP_SPINCOUNT": "9"}, "None")],
)
def test_the_command_sets_it_before_torch_is_loaded(policy, expected):
    environment = {"PYTHONPATH": ":".join(sys.path), **policy}
    done = subprocess.run([sys.executable, "-c", LOADED_LATER], env=environment, capture_output=True, text=True)
    assert done.stdout.split("\n")[-2] == expected, done.stderr
