"""The run folder: where everything that a run leaves behind lies, and who may write there.

    runs/<name>/{config.resolved.yaml, metrics.jsonl, rollouts/step_N.jsonl, buffer.sqlite,
                 checkpoints/step_N/, report.html, logs/run.log, run.lock}

A folder appears complete (built aside, then renamed). One process at a time may write a run.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from azrl.config import Config, to_yaml
from azrl.errors import UserError
from azrl.runs.atomic import disk_errors, sync_tree, write_atomic
from azrl.runs.lock import hold

_ORIGIN = "origin.txt"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,99}")


class RunPaths:
    """Where things lie in a run's folder. Knowing the places takes no lock and touches nothing."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def name(self) -> str:
        """The run's name: its folder's."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The configuration as it was resolved when the run began."""
        return self.path / "config.resolved.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON object a step."""
        return self.path / "metrics.jsonl"

    @property
    def rollouts(self) -> Path:
        """Folder of readable rollouts, one file a step."""
        return self.path / "rollouts"

    @property
    def buffer(self) -> Path:
        """The task buffer's database."""
        return self.path / "buffer.sqlite"

    @property
    def checkpoints(self) -> Path:
        """Folder of `step_N` folders."""
        return self.path / "checkpoints"

    @property
    def report(self) -> Path:
        """The self-contained report, once it was written."""
        return self.path / "report.html"

    @property
    def log(self) -> Path:
        """The text log, appended to by every process that holds the run."""
        return self.path / "logs" / "run.log"


class RunFolder(RunPaths):
    """A run's folder, held by this process until `close` (or the end of the `with` block)."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        super().__init__(path)
        self._lock = lock

    @classmethod
    def create(cls, config: Config, *, preset: str = "run", origin: Path | None = None) -> RunFolder:
        """Make the folder of a new run under `config.paths.runs` and hold it. `origin`, the checkpoint of
        another run from which it starts, is written down: a kill before its first own one loses nothing.

        The name is `config.run.name`, or `<preset>-<date>-<time>` when that is null. A used name, a name
        that is no plain folder name, and a disk that refuses are a UserError; then nothing is left behind.
        """
        root = Path(config.paths.runs)
        name = config.run.name
        if name is None:
            name = _free_name(root, time.strftime(f"{preset}-%Y%m%d-%H%M%S"))
        if not _NAME.fullmatch(name):
            raise UserError(
                f"run.name: {name!r} cannot name a folder: "
                "use up to 100 letters, digits and _ . + = -, not starting with a dot or a sign"
            )
        path = root / name
        aside = root / f".tmp-{name}-{os.getpid()}"
        with disk_errors(f"make the run folder {path}"):
            _refuse_used(path)
            root.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(aside, ignore_errors=True)
            try:
                for part in ("rollouts", "checkpoints", "logs"):
                    (aside / part).mkdir(parents=True)
                write_atomic(aside / "config.resolved.yaml", to_yaml(config).encode())
                if origin is not None:
                    write_atomic(aside / _ORIGIN, f"{origin}\n".encode())
                lock = hold(aside)
                sync_tree(aside)
                _rename_new(aside, path)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return cls(path, lock)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Hold the folder of an existing run, to go on with it; UserError when it is none or is in use."""
        path = Path(path)
        if not (path / "config.resolved.yaml").is_file():
            raise UserError(f"{path} is not a run folder (no config.resolved.yaml in it){_neighbours(path)}")
        with disk_errors(f"write in the run folder {path}"):
            lock = hold(path)
            for part in ("rollouts", "checkpoints", "logs"):
                (path / part).mkdir(exist_ok=True)
        return cls(path, lock)

    def write_config(self, config: Config) -> None:
        """Replace the resolved configuration: a run may be resumed with another target."""
        with disk_errors(f"write {self.config}"):
            write_atomic(self.config, to_yaml(config).encode())

    def origin(self) -> Path | None:
        """The checkpoint of another run from which this one started, if it did."""
        file = self.path / _ORIGIN
        return Path(file.read_text("utf-8").removesuffix("\n")) if file.is_file() else None

    def discard(self) -> None:
        """Remove the folder of a run that never began. Renamed first, so that no half of it is ever seen."""
        aside = self.path.with_name(f".tmp-{self.name}-{os.getpid()}")
        with disk_errors(f"remove the run folder {self.path}"):
            self.path.rename(aside)
            shutil.rmtree(aside)

    def close(self) -> None:
        """Let go of the run. Idempotent."""
        self._lock.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _free_name(root: Path, name: str) -> str:
    """`name`, or `name-2` and so on: two runs may begin in one second."""
    names = itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))
    return next(free for free in names if not (root / free).exists())


def _refuse_used(path: Path) -> None:
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(
            f"run name {path.name!r} is used: {path} exists. "
            f"Go on with it by --resume {path}, or pick another by run.name=NAME"
        )


def _rename_new(aside: Path, path: Path) -> None:
    """Rename onto nothing or onto an empty folder: the system itself refuses anything else."""
    try:
        aside.rename(path)
    except OSError:
        _refuse_used(path)
        raise


def _neighbours(path: Path) -> str:
    """Which runs lie beside a path that is none, newest first."""
    found = [p.parent for p in path.parent.glob("*/config.resolved.yaml")]
    found.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    if not found:
        return ""
    return "; runs there: " + ", ".join(p.name for p in found[:5]) + (", ..." if len(found) > 5 else "")
