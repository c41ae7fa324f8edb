"""Measures a model on the frozen probe: greedy and sampled together, by kind and by difficulty bin."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import sqrt

import numpy as np
from rich.table import Table

from azrl.engine.base import Engine, Request
from azrl.evals.items import load_probe
from azrl.executor import Executor, Limits
from azrl.seeding import derive
from azrl.selfplay.solver import Group, Solver
from azrl.tasks.prompts.base import Template
from azrl.tasks.types import KINDS, Task


def table(title: str, result: dict[str, float]) -> Table:
    """The result of `measure_probe` to look at: one row a measure, percent with standard errors."""
    shown = Table("measure", "mean", *(kind.value for kind in KINDS), title=title)
    for measure in [key.removeprefix("probe/") for key in result if key.count("/") == 1]:
        cells = [measure, *(f"{measure}/{kind.value}" for kind in KINDS)]
        values = [
            f"{100 * result[f'probe/{c}']:.1f} ± {100 * result[f'probe/stderr/{c}']:.1f}" for c in cells
        ]
        shown.add_row(measure, *values)
    return shown


def measure_probe(
    *,
    engine: Engine,
    executor: Executor,
    template: Template,
    limits: Limits,
    items: int,
    samples: int,
    max_tokens: int,
    seed: int,
) -> dict[str, float]:
    """Greedy pass@1, sampled pass@1 at temperature 1 and pass@samples on `items` frozen tasks a kind.

    Keys: `probe/<greedy|sampled|pass@n>` (mean over kinds), `.../<kind>`, `.../<kind>/<bin>`, and the standard
    error over items under `probe/stderr/...`. The sampling seed is the caller's, so repeats are paired. Answers
    without a verdict (the executor's trouble) do not count, and `infra/probe` says how many there were.
    """
    tasks = [task for kind in KINDS for task in [t for t in load_probe() if t.kind is kind][:items]]
    with ThreadPoolExecutor(2) as pool:
        solver = Solver(template, engine, executor, limits, pool)
        greedy = _attempts(solver, tasks, 1, 0.0, max_tokens, seed)
        sampled = _attempts(solver, tasks, samples, 1.0, max_tokens, seed) if samples else []
    result = _summary("greedy", greedy, _share)
    if samples:
        result |= _summary("sampled", sampled, _share)
        result |= _summary(f"pass@{samples}", sampled, lambda group: float(group.solved > 0))
    if lost := sum(len(group.attempts) - len(group.judged) for group in (*greedy, *sampled)):
        result["infra/probe"] = float(lost)
    return result


def _attempts(
    solver: Solver, tasks: Sequence[Task], n: int, temperature: float, max_tokens: int, seed: int
) -> list[Group]:
    requests = [
        Request(solver.prompt(t), max_tokens, n=n, temperature=temperature, seed=derive(seed, "probe", t.id))
        for t in tasks
    ]
    groups = {g.task.id: g for future in solver.attempt(tasks, requests) for g in future.result()}
    return [groups[t.id] for t in tasks]


def _share(group: Group) -> float:
    return group.solved / len(group.judged)


def _summary(measure: str, groups: Sequence[Group], score: Callable[[Group], float]) -> dict[str, float]:
    cells: defaultdict[str, list[float]] = defaultdict(list)
    for group in groups:
        if group.judged:
            cells[group.task.kind.value].append(score(group))
            cells[f"{group.task.kind.value}/{group.task.bin}"].append(score(group))
    result = {}
    for cell, values in cells.items():
        result[f"probe/{measure}/{cell}"] = float(np.mean(values))
        result[f"probe/stderr/{measure}/{cell}"] = float(np.std(values) / sqrt(len(values)))
    kinds = [k.value for k in KINDS if k.value in cells]
    result[f"probe/{measure}"] = float(np.mean([result[f"probe/{measure}/{k}"] for k in kinds]))
    result[f"probe/stderr/{measure}"] = sqrt(
        sum(result[f"probe/stderr/{measure}/{k}"] ** 2 for k in kinds)
    ) / len(kinds)
    return result
