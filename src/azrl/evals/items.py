"""The frozen probe's items: tasks that nothing may train on, in bins from one to four statements.

One executed program gives one item of each kind. The gate and the warm start refuse every program whose
normalised form is in the probe, so the probe is disjoint from training by program, not only by input.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path

from azrl.tasks.normalise import program_key
from azrl.tasks.types import Task

FILE = Path(__file__).parent / "probe.jsonl.gz"
BINS = (1, 2, 3, 4)


@cache
def load_probe() -> tuple[Task, ...]:
    """All frozen items, bins interleaved within each kind, so that any prefix holds the bins in equal parts."""
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        return tuple(Task.from_json(json.loads(line)) for line in lines)


@cache
def held_out() -> frozenset[str]:
    """Keys of the probe's normalised programs."""
    return frozenset(program_key(program) for program in {task.program for task in load_probe()})
