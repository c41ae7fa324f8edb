"""What a draw costs with 40,000 items in 1,000 arms, for every curriculum and both ways of choosing items.

    python benchmarks/curricula_speed.py [--out benchmarks/results/curricula_speed.json]

Medians over 30 steps of processor time in milliseconds: `call_64` for one call that draws 64 tickets, `ticket` a 64th
of it, `call_1` for a call that draws one, `observe` for feeding 64 outcomes of 8 rollouts back.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from azrl.curriculum import ALGORITHMS, Belief, CurriculumSampler, Outcome, ShuffleBag, build_curriculum

ITEMS = {f"arm{k}": [f"{k}-{j}" for j in range(40)] for k in range(1000)}
OPTIONS: dict[str, dict[str, Any]] = {"proportional": {"weights": dict.fromkeys(ITEMS, 1.0)}}
STEPS = 30


def timed(spent: list[float], call: Callable[[], Any]) -> Any:
    start = time.process_time()
    value = call()
    spent.append(1000 * (time.process_time() - start))
    return value


def measure(name: str, options: dict[str, Any], belief: bool) -> dict[str, float]:
    items = Belief(ITEMS) if belief else ShuffleBag(ITEMS, 0)
    sampler = CurriculumSampler(build_curriculum(name, arms=tuple(ITEMS), **options), 0, items)
    rng = np.random.default_rng(0)
    many: list[float] = []
    one: list[float] = []
    fed: list[float] = []
    for step in range(STEPS):
        tickets = timed(many, lambda step=step: sampler.tickets(step, 64))
        timed(one, lambda step=step: sampler.tickets(step, 1, purpose="one"))
        outcomes = [
            Outcome(t.arm, t.item, tuple(rng.integers(0, 2, 8).astype(float).tolist()), 10) for t in tickets
        ]
        timed(fed, lambda step=step, outcomes=outcomes: sampler.observe(step, outcomes))
    return {
        "call_64_ms": round(median(many), 3),
        "ticket_ms": round(median(many) / 64, 4),
        "call_1_ms": round(median(one), 3),
        "observe_ms": round(median(fed), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "curricula_speed.json"
    )
    args = parser.parse_args()
    cases = [(name, OPTIONS.get(name, {})) for name in ALGORITHMS] + [("learnability", {"rule": "thompson"})]
    rows = {}
    for name, options in cases:
        for belief in (False, True):
            label = f"{name}{' (thompson)' if 'rule' in options else ''}, {'belief' if belief else 'bag'}"
            rows[label] = measure(name, options, belief)
            print(f"{label:32}{rows[label]}", flush=True)
    args.out.write_text(json.dumps({"arms": 1000, "items": 40000, "draws": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
