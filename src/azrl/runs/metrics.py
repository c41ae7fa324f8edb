"""metrics.jsonl: one JSON object a step, plain numbers only, cut back to a checkpoint on resume.

Keys whose value depends on the wall clock start with `time/` or `executor/` (which counts from the process's
start); all others are the same in a resumed run as in one that was never stopped. A line is handed to the system
at once, so a killed process loses none; `sync` forces it to the disk too, which only a checkpoint needs, because
a resume drops what came after it.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azrl.runs.atomic import disk_errors, write_atomic

log = logging.getLogger(__name__)


class MetricsLog:
    """Appends to one file. A torn last line, left by a power cut or a full disk, is removed on opening."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with disk_errors(f"write {path}"):
            _drop_torn_tail(path)
            self._file = path.open("ab", buffering=0)

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one line. NaN and infinity are no JSON: such a value is left out, with a warning."""
        row: dict[str, float] = {"step": step}
        for key, value in metrics.items():
            number = value if isinstance(value, int) else float(value)
            if math.isfinite(number):
                row[key] = number
            else:
                log.warning("step %d: %s is %s and was left out of the metrics", step, key, number)
        with disk_errors(f"write {self.path}"):
            line = json.dumps(row, allow_nan=False).encode() + b"\n"
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        """Force what was appended to the disk."""
        with disk_errors(f"write {self.path}"):
            os.fsync(self._file.fileno())

    def truncate(self, after_step: int) -> None:
        """Drop the lines of later steps, and lines that cannot be read. The others stay byte for byte."""
        kept = [line for line in _lines(self.path) if (row := _parse(line)) and row["step"] <= after_step]
        self._file.close()
        with disk_errors(f"write {self.path}"):
            write_atomic(self.path, b"".join(line + b"\n" for line in kept))
            self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        """Force to the disk and close. Idempotent."""
        if not self._file.closed:
            self.sync()
            self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines as dicts; none when there is no file yet. Unreadable lines are logged and skipped."""
    rows = []
    for number, line in enumerate(_lines(path), 1):
        row = _parse(line)
        if row is None:
            log.warning("%s:%d is not a metrics line and was skipped", path, number)
        else:
            rows.append(row)
    return rows


def _lines(path: Path) -> list[bytes]:
    data = path.read_bytes() if path.exists() else b""
    return [line for line in data.split(b"\n") if line]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


def _drop_torn_tail(path: Path) -> None:
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        log.warning("%s: removed a torn last line of %d bytes", path, len(data) - whole)
        os.truncate(path, whole)
