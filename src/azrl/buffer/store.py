"""The task buffer: every proven task with what the solver made of it, and draws by what is worth practising.

SQLite holds the truth; arrays in memory (`columns`) hold what a draw needs, so a step costs a pass over them
and a few indexed rows, never a scan of a table. Whatever is drawn is a function of the tasks, in the order in
which they came, and of the caller's generator. (`ids` and `histogram` look at all tasks.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from azrl.buffer import database
from azrl.buffer.columns import Columns
from azrl.buffer.draws import distinct, draw, relative, surplus
from azrl.buffer.weights import Weighting
from azrl.tasks.types import Kind, Task


@dataclass(frozen=True, slots=True)
class Entry:
    """A task as the buffer knows it. The solve rate's posterior is Beta(alpha, beta)."""

    task: Task
    key: str
    signature: str
    created_step: int
    last_step: int
    visits: int
    alpha: float
    beta: float

    @property
    def solve_rate(self) -> float:
        """Posterior mean."""
        return self.alpha / (self.alpha + self.beta)


class Visit(NamedTuple):
    """One time that a task was practised."""

    step: int
    successes: int
    attempts: int


class TaskBuffer:
    """Open, or make, the buffer in the file `path`. For one thread of one process; others may read the file.

    `max_size` tasks survive `evict`; `decay`, `novelty` and `freshness_steps` are as in `weights`.
    Raises ValueError for settings out of range and UserError for whatever is wrong with the file or the disk.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        max_size: int = 16384,
        decay: float = 0.8,
        novelty: float = 0.5,
        freshness_steps: float = 200.0,
    ) -> None:
        if max_size < 1:
            raise ValueError(f"max_size must be at least 1, got {max_size}")
        self.path = Path(path)
        self.max_size = max_size
        self.weighting = Weighting(decay, novelty, freshness_steps)
        self._connection = database.connect(self.path)
        try:
            self._load()
        except BaseException:
            self._connection.close()
            raise

    # Tasks in

    def add(
        self, task: Task, *, key: str, signature: str = "", step: int, fingerprints: Iterable[str] = ()
    ) -> bool:
        """Store a task with a Beta(1, 1) posterior and remember its fingerprints. `key` is the normalised
        program, the same for equal programs. False, and nothing is done, when its id is here already."""
        task_json = json.dumps(task.to_json())
        with self.transaction():
            if self._query("SELECT 1 FROM task WHERE id = ?", task.id):
                return False
            self._query(
                "INSERT INTO task"
                " (id, kind, bin, key, signature, json, created_step, last_step, visits, alpha, beta)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 1.0, 1.0)",
                *(task.id, task.kind.value, task.bin, key, signature, task_json, step, step),
            )
            [[row]] = self._query("SELECT last_insert_rowid()")
            self._append(row, task.kind, task.bin, key, 1.0, 1.0, 0, step)
            self.remember(fingerprints)
        return True

    def remember(self, fingerprints: Iterable[str]) -> None:
        """Make `known` true for these strings, for good: eviction of a task does not forget them."""
        with self.transaction():
            for text in fingerprints:
                self._query("INSERT OR IGNORE INTO fingerprint VALUES (?)", _fingerprint(text))

    def known(self, fingerprint: str) -> bool:
        """Whether this string was ever remembered."""
        return bool(self._query("SELECT 1 FROM fingerprint WHERE digest = ?", _fingerprint(fingerprint)))

    # Tasks out

    def sample(
        self,
        kind: Kind | None = None,
        n: int = 1,
        *,
        rng: np.random.Generator,
        bins: Collection[int] | None = None,
    ) -> list[Task]:
        """Up to n distinct tasks, drawn by weight without replacement, in the order drawn. `kind` None means
        all kinds, `bins` None all bins; fewer come back when there are no more. A draw is not a visit: those
        are what `record` counts."""
        return [task for task, _ in self.picks(kind, n, rng=rng, bins=bins)]

    def picks(
        self,
        kind: Kind | None = None,
        n: int = 1,
        *,
        rng: np.random.Generator,
        bins: Collection[int] | None = None,
    ) -> list[tuple[Task, float]]:
        """`sample`, each task with its share of the weights that it was drawn from: the chance that one draw gives
        it."""
        members = slice(None) if kind is None and bins is None else self._columns.members(kind, bins)
        log_weights = self._columns["log_weight"][members]
        chosen = draw(log_weights, n, rng)
        weights = relative(log_weights)
        chances = weights[chosen] / weights.sum() if len(chosen) else weights[chosen]
        positions = np.arange(len(self._columns))[members][chosen]
        return list(zip(self._tasks(positions), chances.tolist(), strict=True))

    def references(
        self,
        kind: Kind | None = None,
        k: int = 1,
        *,
        rng: np.random.Generator,
        bins: Collection[int] | None = None,
    ) -> list[Task]:
        """Up to k tasks of distinct programs, uniform without replacement: what a proposer is shown, as in
        Absolute Zero (arXiv 2505.03335). `kind` and `bins` as in `sample`."""
        members = self._columns.members(kind, bins)
        return self._tasks(distinct(members, self._columns["program"], k, rng))

    def get(self, id: str) -> Entry | None:
        """The task with this id and what is known of it."""
        fields = "json, key, signature, created_step, last_step, visits, alpha, beta"
        found = self._query(f"SELECT {fields} FROM task WHERE id = ?", id)
        return Entry(_task(found[0][0]), *found[0][1:]) if found else None

    def history(self, id: str) -> list[Visit]:
        """Every visit of the task with this id, oldest first; empty when it is not here."""
        rows = self._query(
            "SELECT step, successes, attempts FROM visit WHERE task = (SELECT row FROM task WHERE id = ?)"
            " ORDER BY visit.rowid",
            id,
        )
        return [Visit(*row) for row in rows]

    # What practice showed

    def record(self, outcomes: Sequence[tuple[str, int, int]], *, step: int) -> None:
        """Count a visit for each (task id, successes, attempts) and move its posterior. All or none:
        ValueError for counts that cannot be, KeyError for a task not here. No attempts is no visit."""
        for id, successes, attempts in outcomes:
            if not 0 <= successes <= attempts:
                raise ValueError(f"task {id}: {successes} successes in {attempts} attempts")
        with self.transaction():
            for id, successes, attempts in outcomes:
                if attempts:
                    self._visit(id, successes, attempts, step)

    def evict(self) -> int:
        """Remove tasks until `max_size` remain, lowest weight first but no kind below its share of
        max_size / kinds; how many went."""
        leaving = surplus(self._columns["log_weight"], self._columns["kind"], self.max_size)
        if not len(leaving):
            return 0
        with self.transaction():
            for row in self._columns["row"][leaving].tolist():
                self._query("DELETE FROM visit WHERE task = ?", row)
                self._query("DELETE FROM task WHERE row = ?", row)
            self._columns.remove(leaving)
        return len(leaving)

    # What is in it

    def ids(self) -> list[str]:
        """The id of every task, in order of insertion; reads a whole column of the file."""
        return [id for (id,) in self._query("SELECT id FROM task ORDER BY row")]

    def size(self) -> int:
        """Number of tasks."""
        return len(self._columns)

    def counts(self) -> dict[tuple[Kind, int], int]:
        """Tasks by (kind, bin), sorted; cells without tasks are left out."""
        return self._columns.counts()

    def sharing(self, key: str) -> int:
        """How many tasks here have this program key."""
        return self._columns.sharing(key)

    def histogram(self, cells: int = 10) -> dict[Kind, list[int]]:
        """For each kind, tasks by posterior mean solve rate, in equal cells of [0, 1]."""
        return self._columns.histogram(cells)

    def weights(self) -> NDArray[np.float64]:
        """Each task's share of a draw over all, float64[size], in order of insertion; sums to 1."""
        weights = relative(self._columns["log_weight"])
        return weights / weights.sum() if len(weights) else weights

    # The file

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything in the block at once; blocks nest into the outermost. An exception that leaves it
        undoes all of it, in the file and in memory."""
        if self._connection.in_transaction:
            yield
            return
        self._query("BEGIN IMMEDIATE")
        try:
            yield
            self._query("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk may have rolled back by itself
                self._query("ROLLBACK")
            self._load()
            raise

    def snapshot(self, path: Path | str) -> None:
        """Write the buffer to `path` as one file, complete or absent; `restore` brings it back to the bit."""
        if self._connection.in_transaction:
            raise RuntimeError("a snapshot inside a transaction would hold half a step")
        database.snapshot(self._connection, Path(path))

    @classmethod
    def restore(cls, snapshot: Path | str, path: Path | str, **settings: Any) -> Self:
        """Open at `path` the buffer that was saved in `snapshot`; what is at `path` is replaced."""
        database.restore(Path(snapshot), Path(path))
        return cls(path, **settings)

    def close(self) -> None:
        """Close the file; idempotent."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Inside

    def _query(self, sql: str, *values: object) -> list[tuple]:
        with database.explained(self.path, "use"):
            return self._connection.execute(sql, values).fetchall()

    def _load(self) -> None:
        self._columns = Columns()
        fields = "row, kind, bin, key, alpha, beta, visits, last_step"
        for row in self._query(f"SELECT {fields} FROM task ORDER BY row"):
            self._append(*row)

    def _append(
        self, row: int, kind: str, bin: int, key: str, alpha: float, beta: float, visits: int, last_step: int
    ) -> None:
        """Take a database row, newer than all others, into memory."""
        log_weight = self.weighting.log_weight(alpha, beta, visits, last_step)
        solve = alpha / (alpha + beta)
        self._columns.append(kind=Kind(kind), key=key, row=row, bin=bin, solve=solve, log_weight=log_weight)

    def _visit(self, id: str, successes: int, attempts: int, step: int) -> None:
        found = self._query("SELECT row, alpha, beta, visits FROM task WHERE id = ?", id)
        if not found:
            raise KeyError(f"no task {id} in the buffer")
        row, alpha, beta, visits = found[0]
        alpha, beta = self.weighting.posterior(alpha, beta, successes, attempts)
        self._query(
            "UPDATE task SET alpha = ?, beta = ?, visits = ?, last_step = ? WHERE row = ?",
            *(alpha, beta, visits + 1, step, row),
        )
        self._query("INSERT INTO visit VALUES (?, ?, ?, ?)", row, step, successes, attempts)
        log_weight = self.weighting.log_weight(alpha, beta, visits + 1, step)
        self._columns.set(self._columns.position(row), solve=alpha / (alpha + beta), log_weight=log_weight)

    def _tasks(self, positions: NDArray[np.int64]) -> list[Task]:
        rows = self._columns["row"][positions].tolist()
        return [_task(self._query("SELECT json FROM task WHERE row = ?", row)[0][0]) for row in rows]


@lru_cache(maxsize=1 << 12)
def _task(text: str) -> Task:
    return Task.from_json(json.loads(text))


def _fingerprint(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
