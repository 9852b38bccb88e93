"""A stand-in for ``posebridge adapt``: ``python stand_in.py MODE adapt FLAG...`` prints bars and writes outputs."""

import json
import signal
import sys
import time
from pathlib import Path

from tqdm import tqdm


def main(mode: str, flags: list[str]) -> int:
    out = Path(flags[flags.index("--out") + 1])
    out.mkdir()
    target = Path(flags[1])
    (out / "called.json").write_text(
        json.dumps({"flags": flags, "files": sorted(file.name for file in target.iterdir())})
    )
    if mode == "fail":
        print("error: the footage shows nobody: give other footage", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print("1 file carries an orientation")
    with tqdm(total=40, desc="0 rendering", unit="image", mininterval=0) as bar:
        bar.update(40)
    with tqdm(total=600, desc="1 mean-teacher", unit="step", mininterval=0) as bar:
        bar.set_postfix(loss="0.1234", run_left="7 min")
        bar.update(150)
        if mode == "hang":
            (out / "hangs").touch()
            time.sleep(600)
        bar.update(450)
    (out / "report.html").write_text(
        "<!doctype html><title>Report</title><style>p { color: red }</style><p>Adapted.</p>"
    )
    (out / "model.safetensors").write_bytes(b"weights")
    (out / "model.json").write_text("{}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
