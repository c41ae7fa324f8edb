"""A made-up run folder for tests of what reads one: every metric, rollouts, a buffer, a config."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np

from azrl.buffer.store import TaskBuffer
from azrl.tasks.types import Kind, Task

KINDS = ("abduction", "deduction", "induction")
PROGRAM = "def f(x):\n    y = x + 1\n    return [y, y * 2]"


def metrics(steps: int) -> list[dict[str, Any]]:
    """One line a step, a probe every 20 steps and at the ends."""
    rng, lines = random.Random(0), []
    for step in range(steps + 1):
        line: dict[str, Any] = {"step": step}
        if step in (0, steps) or step % 20 == 0:
            line |= _probe(step / steps)
        if step:
            line |= _step(step, step / steps, rng)
        lines.append(line)
    return lines


def _probe(done: float) -> dict[str, float]:
    line = {}
    for measure, base, gain in (("greedy", 0.50, 0.03), ("sampled", 0.41, 0.11), ("pass@8", 0.71, 0.04)):
        line |= {f"probe/{measure}": base + gain * done, f"probe/stderr/{measure}": 0.008}
        for at, kind in enumerate(KINDS):
            value = base + gain * done * (1 + 0.3 * at) - 0.1 * at
            line |= {f"probe/{measure}/{kind}": value, f"probe/stderr/{measure}/{kind}": 0.013}
            for size in range(1, 5):
                key = f"{measure}/{kind}/{size}"
                line |= {f"probe/{key}": max(0.02, value + 0.2 - 0.09 * size), f"probe/stderr/{key}": 0.026}
    return line


def _step(step: int, done: float, rng: random.Random) -> dict[str, float]:
    line: dict[str, float] = {}
    for at, kind in enumerate(KINDS):
        solved = 0.35 + 0.25 * done - 0.06 * at + rng.gauss(0, 0.04)
        line[f"solve_rate/{kind}"] = solved
        line[f"reward/solver/{kind}"] = 1.5 * solved - 0.5
        line[f"reward/proposer/{kind}"] = 0.3 * done - 0.2 + rng.gauss(0, 0.08)
        line[f"buffer/{kind}"] = 180 * math.sqrt(step) * (1 - 0.2 * at)
        for size in range(1, 5):
            arm = f"{kind}:{size}"
            line[f"curriculum/{arm}"] = rng.randint(0, 4) + 3 * done * (size > 2)
            line[f"curriculum_share/{arm}"] = (1 + done * (size > 2)) / (12 + 6 * done)
            line[f"curriculum_terms/{arm}/gain"] = 0.2 + 0.5 * done * (size > 2)
            line[f"curriculum_terms/{arm}/slope"] = 0.01 * (size - 2.5)
    line |= {"curriculum_terms/stage": 1 + step // 40, "spec/met": 0.4 + 0.3 * done, "spec/rate_gap": 0.3}
    for cluster in range(3):
        line[f"cluster_terms/{cluster + step // 60}/rate"] = 0.2 + 0.2 * cluster
        line[f"cluster_terms/{cluster + step // 60}/size"] = 40 + step
    line |= {"clusters": 3.0, "reclustered": float(step in (20, 60))}
    admitted = int(20 + 10 * done + rng.gauss(0, 2))
    refusals = {
        "parse": 8 - 5 * done,
        "policy": 1,
        "error": 6 - 3 * done,
        "timeout": 0.4,
        "nondeterministic": 0.2,
        "trivial": 5,
        "duplicate": 6 + 2 * done,
        "held_out": 1,
    }
    line |= {f"gate/{name}": max(0, round(mean + rng.random())) for name, mean in refusals.items()}
    phases = {
        "generate": 0.9,
        "gate": 0.1,
        "judge": 0.05,
        "update": 0.7,
        "sync": 0.02,
        "record": 0.01,
        "other": 0.02,
    }
    line |= {f"time/{name}": mean * (0.9 + 0.2 * rng.random()) for name, mean in phases.items()}
    line |= {
        f"executor/{name}_p{p}": p / 20 + rng.random()
        for name in ("latency_ms", "run_ms")
        for p in (50, 95, 99)
    }
    line |= {
        f"executor/{name}": step // 9
        for name in ("retries", "respawns", "recycled", "infra", "canaries_wrong")
    }
    line |= {"executor/kills/cpu_limit": 2 * step, "executor/kills/wall_limit": step // 5}
    return line | {
        "executor/cache_hits": 30 * step,
        "executor/queue_max": 120,
        "gate/admitted": admitted,
        "unique_rate": 0.86 - 0.08 * done + rng.gauss(0, 0.02),
        "entropy": 0.9 - 0.5 * done,
        "size/statements": 1.6 + done,
        "length/solver": 9 + 2 * done,
        "length/proposer": 34 + 5 * done,
        "format/solver": 0.96 + 0.03 * done,
        "tokens": 21_000,
        "loss": rng.gauss(0, 0.01),
        "grad_norm": 0.4 + rng.random() * 0.2,
        "kl": 0.0,
        "mismatch_kl": 0.0004 * rng.random(),
        "buffer/size": 430 * math.sqrt(step),
        "trained/share": 0.98,
        "time/wall": 1.9,
        "time/tokens_per_s": 11_000 + rng.gauss(0, 500),
        "alarm/unique_rate": float(step in (33, 34)),
    }


def rollouts(step: int, program: str = PROGRAM, response: str = "[4, 6]") -> list[dict[str, Any]]:
    """A proposal with eight attempts for each kind, and two refused proposals."""
    records: list[dict[str, Any]] = []
    for at, kind in enumerate(KINDS):
        common = {"step": step, "kind": kind, "task_id": f"{kind}{step}", "program": program}
        common |= {"inputs": ["2"], "outputs": ["[3, 6]"]}
        proposal = {
            "prompt": "propose",
            "response": program,
            "reward": 0.4,
            "advantage": 0.2,
            "correct": None,
        }
        records.append(common | proposal | {"role": "proposer", "reason": "admitted"})
        for attempt in range(8):
            right = attempt < 3 + at
            said = {
                "prompt": f"{program}\nf(2) == ?",
                "response": "[3, 6]" if right else response,
                "correct": right,
            }
            gains = {"reward": 1.0 if right else -0.5, "advantage": 0.8 if right else -0.6, "reason": ""}
            records.append(common | said | gains | {"role": "solver"})
    for reason in ("trivial", "error"):
        said = {
            "prompt": "propose",
            "response": response,
            "reward": -1.0,
            "advantage": -1.1,
            "reason": reason,
        }
        task = {"kind": "deduction", "task_id": "", "program": None, "inputs": None, "outputs": None}
        records.append({"step": step, "role": "proposer", "correct": None} | said | task)
    return records


def write_run(folder: Path, *, steps: int = 120, program: str = PROGRAM, response: str = "[4, 6]") -> Path:
    """Write all of it below `folder` and return it."""
    (folder / "rollouts").mkdir(parents=True)
    write_lines(folder / "metrics.jsonl", metrics(steps))
    for step in range(10, steps + 1, 10):
        write_lines(folder / "rollouts" / f"step_{step}.jsonl", rollouts(step, program, response))
    write_buffer(folder / "buffer.sqlite", program)
    (folder / "config.resolved.yaml").write_text(
        f"run:\n  seed: 42\nmodel:\n  name: tiny\n# {response!r}\n", encoding="utf-8"
    )
    return folder


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """A JSONL file."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write_buffer(path: Path, program: str) -> None:
    """Sixty tasks of each kind through the real buffer, most of them practised."""
    rng = np.random.default_rng(0)
    with TaskBuffer(path) as buffer, buffer.transaction():
        for number in range(180):
            size = 1 + number % 4
            task = Task(Kind(KINDS[number % 3]), f"{program}  # {number}", ("2",), ("[3, 6]",), bin=size)
            buffer.add(task, key=str(number), step=number // 2)
            for visit in range((0, 2, 5, 9)[number // 3 % 4] if number < 150 else 0):
                buffer.record(
                    [(task.id, int(rng.binomial(8, 0.9 - 0.2 * size)), 8)], step=number // 2 + 5 * visit
                )
