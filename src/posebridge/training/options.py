"""What hardware a run uses. Free of torch until it is asked, so that commands can show their help at once."""

from dataclasses import dataclass
from typing import Literal

from posebridge.errors import InputError


@dataclass(frozen=True)
class Hardware:
    """Flags of every command that trains."""

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """auto takes a GPU where there is one."""

    devices: int = 1
    """Number of GPUs, or of processes on a CPU."""

    nodes: int = 1
    """Number of machines."""

    precision: Literal["auto", "32", "bf16"] = "auto"
    """auto is bf16 where the hardware computes in it, else 32."""

    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the main one."""

    def __post_init__(self):
        """Raises ``InputError`` for numbers that are impossible."""
        for name, least in (("devices", 1), ("nodes", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{getattr(self, name)} {name} are impossible: give {least} or more")

    @property
    def lightning_precision(self) -> Literal["32-true", "bf16-mixed"]:
        """In Lightning's words."""
        import torch

        native = torch.cuda.is_available() or any(
            torch.cpu.get_capabilities().get(unit, False) for unit in ("avx512_bf16", "amx_bf16")
        )
        wanted = self.precision == "bf16" or (self.precision == "auto" and native)
        return "bf16-mixed" if wanted else "32-true"
