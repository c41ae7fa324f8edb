"""Small tasks, all different, for the tests of the task buffer."""

from __future__ import annotations

import numpy as np

from azrl.buffer import TaskBuffer
from azrl.tasks.types import KINDS, Kind, Task


def make_task(number: int, kind: Kind = Kind.DEDUCTION, bin: int = 1, **fields) -> Task:
    program = f"def f(x):\n    return x + {number}"
    return Task(kind, program, ("1",), (f"{1 + number}",), bin=bin, **fields)


def fill(buffer: TaskBuffer, n: int, *, step: int = 0, first: int = 0) -> list[Task]:
    tasks = [make_task(i, KINDS[i % 3], 1 + i % 4) for i in range(first, first + n)]
    with buffer.transaction():
        for task in tasks:
            assert buffer.add(task, key=task.program, step=step)
    return tasks


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)
