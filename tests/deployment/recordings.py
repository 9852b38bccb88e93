"""Recordings for the Rerun viewer, read back by Rerun's own reader."""

from collections import defaultdict
from pathlib import Path

import numpy as np


def read(path: Path) -> dict[str, dict[int, np.ndarray]]:
    """Values by entity and component, by moment; -1 for static ones."""
    from rerun.chunk import RrdReader

    found: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    for chunk in RrdReader(str(path)).stream().to_chunks():
        table = chunk.to_record_batch()
        moments = table.column("moment").to_pylist() if "moment" in table.schema.names else [-1] * table.num_rows
        for name in table.schema.names:
            if ":" not in name or "properties" in str(chunk.entity_path):
                continue
            for moment, value in zip(moments, table.column(name).to_pylist(), strict=True):
                if value is not None:
                    found[f"{chunk.entity_path}/{name.split(':')[1]}"][moment] = np.array(value)
    return found
