"""Hardware options of a run. Torch is imported on use only, so that the help of commands stays fast."""

from dataclasses import dataclass
from typing import Literal

from posebridge.errors import InputError


@dataclass(frozen=True)
class Hardware:
    """Hardware flags of every command that trains."""

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """auto uses a GPU if there is one."""

    devices: int = 1
    """Number of GPUs, or of processes on a CPU."""

    nodes: int = 1
    """Number of machines."""

    precision: Literal["auto", "32", "bf16"] = "auto"
    """auto is bf16 where the hardware supports it natively, else 32."""

    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the main one."""

    def __post_init__(self):
        """Raises ``InputError`` for numbers out of range."""
        for name, least in (("devices", 1), ("nodes", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{getattr(self, name)} {name} are impossible: give {least} or more")

    @property
    def lightning_precision(self) -> Literal["32-true", "bf16-mixed"]:
        """The precision as Lightning names it."""
        import torch

        native = torch.cuda.is_available() or any(
            torch.cpu.get_capabilities().get(unit, False) for unit in ("avx512_bf16", "amx_bf16")
        )
        bf16 = self.precision == "bf16" or (self.precision == "auto" and native)
        return "bf16-mixed" if bf16 else "32-true"
