"""Do curricula help a small transformer that learns to add? Steps to 90 %, at equal rollouts, against uniform.

    python benchmarks/addition.py [--places chain flat] [--seeds 0 1 2 3 4] [--only NAME ...] [--plot FILE]

A transformer of 14 thousand parameters knows two-digit sums from a short supervised start and goes on by reinforcement
alone: 64 groups of 8 answers a step, reward 1 for one that is right throughout. `chain`: sums of 2, 4 and 6 digits
(benchmarks/sums/problems.py), scored by the greedy accuracy on held-out sums, mean over the arms. A run ends where it
reaches 90 %; one that does not counts as all steps there are. `flat`, the control: one column's total, where no column
needs another; these runs go on to the end. Measured every 10 steps; no measurement reaches a curriculum, but for the
oracle's. All contenders of a seed have the same start. Writes benchmarks/results/addition.json run by run (what it
holds is skipped) and prints the tables of docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from sums.contest import CONTENDERS, ORACLE, contest, starts
from sums.learner import Recipe
from sums.problems import CHAIN, FLAT
from sums.summary import table

RESULT = Path(__file__).parent / "results" / "addition.json"
PLACES = {place.name: place for place in (CHAIN, FLAT)}
HORIZONS = {"chain": 1500, "flat": 200}
NAMES = [*CONTENDERS, ORACLE]


def main() -> None:
    """Measure what is missing, seed by seed, then print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--places", nargs="+", choices=PLACES, default=list(PLACES))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--minutes", type=float, help="begin no run after so long")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe()
    report: dict[str, Any] = {"recipe": asdict(recipe), "horizons": HORIZONS, "runs": []}
    if args.out.exists():
        old = json.loads(args.out.read_text())
        if any(old[key] != report[key] for key in ("recipe", "horizons")):
            raise SystemExit(f"{args.out} was measured with other settings: give another --out")
        report = old
    have = {(run["place"], run["contender"], run["seed"]) for run in report["runs"]}
    began, start = time.monotonic(), starts(recipe)
    wanted = [(place, name, seed) for seed in args.seeds for place in args.places for name in args.only]
    for place, name, seed in wanted:
        if (place, name, seed) in have or (args.minutes and time.monotonic() - began > 60 * args.minutes):
            continue
        run = contest(PLACES[place], name, start(seed), seed, HORIZONS[place], stop=place == "chain")
        report["runs"].append(run)
        args.out.write_text(_compact(report))
        print(f"{place}  {name}  seed {seed}: {run['steps']} steps, {run['accuracy'][-1]}", flush=True)
    for place in PLACES:
        print(table(report["runs"], place, HORIZONS[place]), end="\n\n")
    if args.plot:
        from sums.plots import draw

        draw(report["runs"], args.plot)


def _compact(report: dict[str, Any]) -> str:
    """JSON with a run a line."""
    runs = ",\n".join(json.dumps(run) for run in report["runs"])
    head = json.dumps({key: value for key, value in report.items() if key != "runs"}, indent=1)
    return f'{head[:-2]},\n "runs": [\n{runs}\n]}}\n'


if __name__ == "__main__":
    main()
