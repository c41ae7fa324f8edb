"""Curricula on simulated learners: who closes how much of the gap between uniform and an oracle?

    python benchmarks/curricula.py [--worlds held_out | tuning] [--seeds 20] [--only NAME ...] [--plots FOLDER]

The learner and its worlds are in benchmarks/worlds/: a prerequisite chain, a flat one as the control, coin-flip
rewards, impossible arms, forgetting, drift, many arms, uneven costs, small batches. All contenders spend the same
tokens with the same seeds. The defaults of `frontier` were chosen on the tuning worlds; report the held-out ones. The
placebo is a curriculum whose feedback is dealt out to the wrong arms: what it still gains has nothing to do with what
it was told. `--only` runs these contenders and keeps the rest of the JSON; `--plots` draws where each fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from worlds.catalogue import CONTENDERS, HELD_OUT, TUNING, make
from worlds.learner import World
from worlds.measure import compare
from worlds.play import oracle, play

WORLDS = {"held_out": HELD_OUT, "tuning": TUNING}
PLACEBOS = ("dump (code)", "frontier")
RESULTS = Path(__file__).parent / "results"


def run(world: World, names: list[str], seeds: int) -> dict[str, Any]:
    """Every contender in one world."""
    uniform, _ = play(world, lambda w: make("uniform", w), seeds)
    best, _ = oracle(world, seeds)
    rows: dict[str, Any] = {"oracle": compare(best, uniform, best)}
    for name in names:
        start = time.process_time()
        curves, _ = play(world, lambda w, name=name: make(name, w), seeds)
        rows[name] = compare(curves, uniform, best) | {"cpu_s": round(time.process_time() - start, 1)}
        print(f"{world.name:14}{name:28}{_line(rows[name])}", flush=True)
        if name in PLACEBOS:
            curves, _ = play(world, lambda w, name=name: make(name, w), seeds, placebo=True)
            rows[f"{name}, placebo"] = compare(curves, uniform, best)
            print(f"{world.name:14}{name + ', placebo':28}{_line(rows[f'{name}, placebo'])}", flush=True)
    return rows


def _line(row: dict[str, Any]) -> str:
    low, high = row["gap_closed_95"]
    return (
        f"{100 * row['gap_closed']:7.0f} % [{100 * low:.0f}, {100 * high:.0f}]   speed-up {row['speed_up']:.2f}"
        f" [{row['speed_up_95'][0]:.2f}, {row['speed_up_95'][1]:.2f}]   reached {100 * row['reached']:.0f} %"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", choices=WORLDS, default="held_out")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plots", type=Path)
    args = parser.parse_args()
    if args.plots:
        from worlds.plots import draw_all

        draw_all(args.plots, args.seeds)
        return
    out = args.out or RESULTS / f"curricula_{args.worlds}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    worlds = json.loads(out.read_text())["worlds"] if out.exists() else {}
    for world in WORLDS[args.worlds]:
        worlds[world.name] = worlds.get(world.name, {}) | run(world, args.only, args.seeds)
        report = {
            "what": "share of the uniform-to-oracle gap closed and speed-up; the script says how",
            "seeds": args.seeds,
            "machine": {"cpu": platform.machine(), "python": platform.python_version(), "numpy": np.__version__},
            "load_average": round(os.getloadavg()[0], 2),
            "worlds": worlds,
        }
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
