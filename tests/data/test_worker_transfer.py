import subprocess
import sys
import textwrap

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from posebridge.data import worker_transfer
from posebridge.data.worker_transfer import packed, unpacked


class Batches(Dataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int):
        return packed((index, torch.full((2, 3), float(index))))


@pytest.mark.parametrize("enough", [0, 2**62])
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_come_through(workers, enough, monkeypatch):
    monkeypatch.setattr(worker_transfer, "_ENOUGH_BYTES", enough)
    items = list(DataLoader(Batches(), batch_size=None, num_workers=workers))
    assert isinstance(items[0], bytes) == bool(workers and enough)
    for index, (number, values) in enumerate(map(unpacked, items)):
        assert number == index
        assert torch.equal(values, torch.full((2, 3), float(index)))


def test_shared_memory_of_64_kilobytes():
    """In a mount namespace of its own, which needs rights that a container may lack."""
    script = """
        import torch
        from posebridge.data.streams import StepBatches, step_loader

        class Stream:
            def batch(self, number):
                return torch.full((2**20,), float(number))

        if __name__ == "__main__":
            steps = iter(step_loader(StepBatches({"a": Stream()}, first_step=0), workers=2))
            print([float(next(steps)[1]["a"].mean()) for _ in range(4)], flush=True)
    """
    small = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"', "sh"]
    try:
        subprocess.run([*small, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no mount namespace here")
    command = [*small, sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "[0.0, 1.0, 2.0, 3.0]\n"), done.stderr
