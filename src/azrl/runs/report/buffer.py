"""The task buffer as the report sees it: read-only, by its tables, never through the code that writes it."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

BARS = 20
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task of the buffer with what is known of it; `solved` is the posterior mean of its solve rate.

    `history` holds (step, share of right answers) of its latest visits, oldest first.
    """

    id: str
    kind: str
    program: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    message: str
    bin: int
    visits: int
    solved: float
    created: int
    history: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class BufferView:
    """`counts` by (kind, bin); `histogram` by (kind, bar), where bar i holds solve rates from i/20 on, of
    practised tasks; `tasks` the most visited."""

    size: int
    unvisited: int
    counts: dict[tuple[str, int], int]
    histogram: dict[tuple[str, int], int]
    tasks: tuple[StoredTask, ...]


_CELLS = "SELECT kind, bin, visits, alpha, beta FROM task"
_SELECT = "SELECT id, kind, json, bin, visits, alpha, beta, created_step, row FROM task"
_HISTORY = "SELECT step, successes, attempts FROM visit WHERE task = ? ORDER BY rowid DESC LIMIT 24"


def read_buffer(path: Path) -> tuple[BufferView | None, str]:
    """The view, or None with the sentence that says why there is none."""
    if not path.is_file():
        return None, "There is no buffer.sqlite."
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, timeout=5.0)
        try:
            return _view(connection), ""
        finally:
            connection.close()
    except sqlite3.Error as error:
        return None, f"buffer.sqlite could not be read: {error}."


def _view(connection: sqlite3.Connection) -> BufferView:
    counts: Counter[tuple[str, int]] = Counter()
    histogram: Counter[tuple[str, int]] = Counter()
    size = unvisited = 0
    for kind, size_bin, visits, alpha, beta in connection.execute(_CELLS):
        size += 1
        counts[str(kind), int(size_bin)] += 1
        if visits:
            histogram[str(kind), min(BARS - 1, int(BARS * alpha / (alpha + beta)))] += 1
        else:
            unvisited += 1
    rows = connection.execute(
        f"{_SELECT} WHERE visits > 0 ORDER BY visits DESC, row LIMIT {_SHOWN}"
    ).fetchall()
    tasks = (_task(row[:-1], connection.execute(_HISTORY, row[-1:]).fetchall()) for row in rows)
    return BufferView(size, unvisited, dict(counts), dict(histogram), tuple(task for task in tasks if task))


def _task(row: Sequence[Any], visits_back: Sequence[tuple[int, int, int]]) -> StoredTask | None:
    """A stored row as a task; None when its JSON is damaged (the counts still hold it)."""
    identity, kind, text, size_bin, visits, alpha, beta, created = row
    try:
        data = json.loads(text)
        program, inputs, outputs = data["program"], data["inputs"], data["outputs"]
        message = data.get("message", "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return StoredTask(
        id=str(identity),
        kind=str(kind),
        program=str(program),
        inputs=tuple(map(str, inputs)),
        outputs=tuple(map(str, outputs)),
        message=str(message),
        bin=int(size_bin),
        visits=int(visits),
        solved=alpha / (alpha + beta),
        created=int(created),
        history=tuple((int(step), right / tried) for step, right, tried in reversed(visits_back) if tried),
    )
