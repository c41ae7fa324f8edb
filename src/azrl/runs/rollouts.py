"""Readable rollouts: one JSONL file a step, so that anyone can see what was asked, answered and judged."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from azrl.runs.atomic import disk_errors, write_atomic

_FILE = re.compile(r"step_(\d+)\.jsonl")


class RolloutLog:
    """Writes `step_N.jsonl` files into one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, step: int, records: Sequence[Mapping[str, Any]]) -> Path:
        """Write the records of one step, a line each, as UTF-8 that a person can read.

        Lone surrogates, which a model may well write, become JSON escapes and read back as they were.
        """
        path = self.folder / f"step_{step}.jsonl"
        lines = "".join(json.dumps(dict(record), ensure_ascii=False) + "\n" for record in records)
        with disk_errors(f"write {path}"):
            write_atomic(path, lines.encode("utf-8", "backslashreplace"), durable=False)
        return path

    def steps(self) -> list[int]:
        """The steps that have a file, ascending."""
        found = (_FILE.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def read(self, step: int) -> list[dict[str, Any]]:
        """The records of one step, as they were written."""
        data = (self.folder / f"step_{step}.jsonl").read_bytes()
        return [json.loads(line) for line in data.split(b"\n") if line]

    def truncate(self, after_step: int) -> None:
        """Remove the files of later steps."""
        for step in self.steps():
            if step > after_step:
                (self.folder / f"step_{step}.jsonl").unlink()
