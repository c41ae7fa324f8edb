"""Runs of the real command line, with the scripted engine: how to start them and what they came to."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "main.py"

SETTINGS = """
run: {iterations: 8, checkpoint_interval: 2, seed: 3}
engine: {backend: scripted}
executor: {backend: mock, workers: 1}
model: {max_prompt_length: 512}
selfplay: {batch_size: 12, practise: 6, max_new_tasks: 8, seed_batch_factor: 2, n_samples: 4}
probe: {items: 8, samples: 2, interval: 3}
"""
"""Eight steps of the whole loop in a second."""


def command(*words: str) -> list[str]:
    """`python main.py` with these words."""
    return [sys.executable, str(MAIN), *words]


def environment() -> dict[str, str]:
    """This process's, less settings for azrl."""
    return {k: v for k, v in os.environ.items() if not k.startswith("AZRL__")}


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start in `folder`, in a process group of its own."""
    return subprocess.Popen(
        command(*words),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def cli(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run in `folder` to the end."""
    return subprocess.run(
        command(*words),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def done(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run to the end, which must be a success."""
    result = cli(folder, *words)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def workplace(folder: Path) -> Path:
    """`folder` with SETTINGS in c.yaml."""
    folder.mkdir(exist_ok=True)
    (folder / "c.yaml").write_text(SETTINGS)
    return folder


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Poll until it is true; False when the process ended first."""
    while not true():
        if process.poll() is not None:
            return True is true()
        time.sleep(0.001)
    return True


def logged(run: Path) -> int:
    """Lines in metrics.jsonl."""
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def metrics(run: Path) -> list[dict[str, Any]]:
    """All steps, timings and the executor's own counts aside."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith(("time/", "executor/"))} for row in rows]


def database(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    with sqlite3.connect(path) as connection:
        tables = ("task", "visit", "fingerprint")
        return {t: sorted(connection.execute(f"SELECT * FROM {t}").fetchall()) for t in tables}


def state(run: Path) -> dict[str, Any]:
    """What the newest checkpoint holds besides model and buffer, timings aside."""
    newest = max((run / "checkpoints").glob("step_*"), key=lambda path: int(path.name[5:]))
    return {
        **json.loads((newest / "state.json").read_text()),
        "model": json.loads((newest / "model" / "skill.json").read_text()),
        "trained_s": None,
    }


def outcome(run: Path) -> dict[str, Any]:
    """All that a run came to, as far as the clock has no part in it."""
    return {
        "metrics": metrics(run),
        "buffer": database(run / "buffer.sqlite"),
        "state": state(run),
        "rollouts": {path.name: path.read_text() for path in (run / "rollouts").iterdir()},
        "checkpoints": sorted(path.name for path in (run / "checkpoints").iterdir()),
    }
