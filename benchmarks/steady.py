"""Where does each curriculum look when nothing moves? Shares of arms with constant solve rates.

    python benchmarks/steady.py [--out benchmarks/results/steady.json]

Three arms are solved at .98, .03 and never, 64 groups of 8 rollouts a step; their answers have 16, 32 and 48 tokens a
group. Shares are means over steps 100 to 300. Nothing is learned, so no share is right; but the arm that never pays
should not have the most.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from azrl.curriculum import CurriculumSampler, Outcome, build_curriculum

RATES = {"nearly solved": 0.98, "sparse": 0.03, "never": 0.0}
TOKENS = {"nearly solved": 16, "sparse": 32, "never": 48}
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dump": ("dump", {}),
    "sec": ("sec", {}),
    "learnability, Thompson": ("learnability", {"rule": "thompson"}),
    "plr": ("plr", {}),
    "frontier": ("frontier", {}),
    "frontier, cost 0": ("frontier", {"cost": 0.0}),
    "frontier, cost 0, no gate": ("frontier", {"cost": 0.0, "closed": 1.0}),
}


def shares(algorithm: str, options: dict[str, Any]) -> dict[str, float]:
    """Mean share of each arm, over one seed."""
    sampler = CurriculumSampler(build_curriculum(algorithm, arms=tuple(RATES), **options), seed=0)
    rng, found = np.random.default_rng(0), []
    for step in range(300):
        found.append(sampler.curriculum.probabilities(step))
        rewards = [(arm, (rng.random(8) < RATES[arm]).astype(float)) for arm in sampler.draw(step, 64)]
        sampler.observe(step, [Outcome(arm, "item", tuple(row), TOKENS[arm]) for arm, row in rewards])
    return dict(zip(RATES, np.mean(found[100:], axis=0).round(3).tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "steady.json")
    args = parser.parse_args()
    rows = {name: shares(*contender) for name, contender in CONTENDERS.items()}
    for name, row in rows.items():
        print(f"{name:28}{row}")
    args.out.write_text(json.dumps({"rates": RATES, "shares": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
