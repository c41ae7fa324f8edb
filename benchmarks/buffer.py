"""Times of the task buffer from 1,000 to 100,000 tasks: does a training step's share of it grow?

    python benchmarks/buffer.py [--out benchmarks/results/buffer.json] [--steps 60]

A step is what the loop does with a full buffer: 96 look-ups of fingerprints, 48 times 2 references for the
proposer, 32 tasks added, 16 drawn by weight over 12 arms, 48 groups recorded, 32 evicted, the counts and the
histogram for the log, one commit. Times are medians in milliseconds, of the wall clock and (`_cpu`) of the
processor; on a busy machine only the latter tells the buffer's own work. The sizes take turns so that a busy
moment falls on all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from azrl.buffer import TaskBuffer
from azrl.tasks.types import KINDS, Task

SIZES = (1_000, 10_000, 100_000)
ADDED, PROMPTS, REFERENCES, PRACTISED, BINS = 32, 48, 2, 16, 4

Times = dict[str, list[float]]


def make_task(number: int) -> Task:
    program = f"def f(x, y):\n    z = [v * {number} for v in x]\n    z.append(y)\n    return sorted(z)[::-1]"
    return Task(KINDS[number % 3], program, ("[3, 1, 2], 7",), (f"[{number}]",), bin=1 + number // 3 % BINS)


@contextmanager
def timed(times: Times, name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    times[name + "_cpu"].append(1000 * (time.process_time() - cpu))
    times[name].append(1000 * (time.perf_counter() - wall))


def add(buffer: TaskBuffer, numbers: range, step: int) -> list[Task]:
    tasks = [make_task(number) for number in numbers]
    for task in tasks:
        prints = (f"text:{task.id}", f"ast:{task.program}")
        buffer.add(task, key=task.program, signature="", step=step, fingerprints=prints)
    return tasks


def run_step(buffer: TaskBuffer, step: int, times: Times) -> None:
    rng = np.random.default_rng(step)
    with timed(times, "step"), buffer.transaction():
        with timed(times, "references"):
            for prompt in range(PROMPTS):
                buffer.references(KINDS[prompt % 3], REFERENCES, rng=rng)
        with timed(times, "known"):
            for number in range(2 * PROMPTS):
                buffer.known(f"text:{step}:{number}")
        with timed(times, "add"):
            new = add(buffer, range(10**7 + step * ADDED, 10**7 + (step + 1) * ADDED), step)
        with timed(times, "sample_by_arm"):
            practised = [
                task
                for arm in range(3 * BINS)
                for task in buffer.sample(
                    KINDS[arm % 3], 1 + (arm < PRACTISED - 12), rng=rng, bins=[1 + arm // 3]
                )
            ]
        with timed(times, "record"):
            outcomes = [(task.id, int(rng.integers(9)), 8) for task in new + practised]
            buffer.record(outcomes, step=step)
        with timed(times, "evict"):
            buffer.evict()
        with timed(times, "log"):
            buffer.counts()
            buffer.histogram()
    with timed(times, "sample_16_of_all"):
        buffer.sample(n=PRACTISED, rng=rng)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "buffer.json")
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    results: dict[int, dict[str, float]] = {}
    times: dict[int, Times] = {size: defaultdict(list) for size in SIZES}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        buffers = {}
        for size in SIZES:
            path = Path(folder) / f"{size}.sqlite"
            buffer = buffers[size] = stack.enter_context(TaskBuffer(path, max_size=size))
            start = time.perf_counter()
            with buffer.transaction():
                add(buffer, range(size), 0)
            results[size] = {"fill_tasks_per_s": size / (time.perf_counter() - start)}
        for step in range(1, args.steps + 1):
            for size, buffer in buffers.items():
                run_step(buffer, step, times[size])
        for size, buffer in buffers.items():
            copy = Path(folder) / f"{size}.snapshot"
            with timed(times[size], "snapshot"):
                buffer.snapshot(copy)
            with timed(times[size], "restore"):
                TaskBuffer.restore(copy, Path(folder) / f"{size}.restored", max_size=size).close()
            results[size]["snapshot_mb"] = copy.stat().st_size / 1e6
    for size in SIZES:
        for name, values in times[size].items():
            results[size][f"{name}_ms"] = statistics.median(values)
        results[size]["step_p95_ms"] = float(np.quantile(times[size]["step"], 0.95))
    report = {
        "what": "medians by number of tasks; the script says of what",
        "steps": args.steps,
        "machine": {"cpu": platform.machine(), "python": platform.python_version(), "numpy": np.__version__,
                    "sqlite": sqlite3.sqlite_version},
        "sizes": {str(size): {k: round(v, 3) for k, v in row.items()} for size, row in results.items()},
        "load_average": os.getloadavg()[0],
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    print(args.out.read_text())


if __name__ == "__main__":
    main()
