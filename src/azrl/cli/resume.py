"""Which run `--resume` means."""

from __future__ import annotations

from pathlib import Path

from azrl.config import Config
from azrl.errors import UserError

RESOLVED = "config.resolved.yaml"
"""The file that makes a folder a run."""


def run_folder(word: str) -> Path:
    """The folder that a verb's RUN means: itself, or else the run of that name under `runs/` where there is one."""
    folder = Path(word)
    if not (folder / RESOLVED).is_file() and (Path("runs") / folder / RESOLVED).is_file():
        return Path("runs") / folder
    return folder


def find_run(what: str, config: Config) -> Path:
    """The run's folder: the one named by `what`, else the one of `run.name`, else the newest.

    `what` is `latest`, a step (of that same run), or a run's name or folder. UserError when there is none.
    """
    root = Path(config.paths.runs)
    named = None if what == "latest" or what.isdigit() else what
    if named and (Path(named) / RESOLVED).is_file():
        return Path(named).resolve()
    files = sorted(root.glob(f"*/{RESOLVED}"), key=lambda path: path.stat().st_mtime, reverse=True)
    runs = [file.parent for file in files]
    wanted = named or config.run.name
    for run in runs:
        if wanted in (None, run.name):
            return run
    there = ", ".join(run.name for run in runs[:5]) or "none"
    raise UserError(
        f"--resume: no run{f' {wanted!r}' if wanted else ''} to go on with in {root}/; there: {there}"
    )
