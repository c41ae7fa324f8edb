"""Programs whose output must not depend on how Python hashes."""

from __future__ import annotations

import subprocess
import sys


def printed(program: str) -> str:
    """What `program` prints, the same under three hash seeds; else an AssertionError."""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    ]
    assert len(set(outputs)) == 1, f"the output depends on the hash seed: {outputs}"
    return outputs[0]
