"""Config of a set that renders in two seconds, and the contents of its files."""

from pathlib import Path

from posebridge.data.render_config import RenderConfig

CONFIG = RenderConfig("studio", count=72, size_px=32, seed=5, shard_length=60)  # shards of 64 and 8 samples


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
