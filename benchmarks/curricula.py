"""Curricula on simulated learners: who closes how much of the gap between uniform and an oracle?

    python benchmarks/curricula.py [--worlds held_out | tuning] [--only NAME ...] [--places NAME ...] [--plots FOLDER]

The learner and its worlds are in benchmarks/worlds/: a prerequisite chain, a flat one as the control, coin-flip
rewards, impossible arms, forgetting, drift, many arms, uneven costs, small batches. All contenders spend the same
tokens with the same seeds. The defaults of `frontier` were chosen on the tuning worlds; report the held-out ones. A
placebo is a curriculum that is told each step's outcomes under names of arms permuted anew: it should do as uniform.
`--only` and `--places` run these contenders and worlds and keep the rest of the JSON; `--plots` draws where each
curriculum fails.
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
PLACEBOS = {"dump, placebo": "dump (code)", "frontier, placebo": "frontier"}
NAMES = [*CONTENDERS, *PLACEBOS]
RESULTS = Path(__file__).parent / "results"


def run(world: World, names: list[str], seeds: int) -> dict[str, Any]:
    """Every contender in one world."""
    uniform, _ = play(world, lambda w: make("uniform", w), seeds)
    best, _ = oracle(world, seeds)
    rows: dict[str, Any] = {"oracle": compare(best, uniform, best)}
    for name in names:
        start = time.process_time()
        real = PLACEBOS.get(name, name)
        curves, _ = play(world, lambda w, real=real: make(real, w), seeds, placebo=name in PLACEBOS)
        rows[name] = compare(curves, uniform, best) | {"cpu_s": round(time.process_time() - start, 1)}
        print(f"{world.name:14}{name:28}{_line(rows[name])}", flush=True)
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
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--places", nargs="+", help="names of worlds; all without it")
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
        if args.places and world.name not in args.places:
            continue
        worlds[world.name] = worlds.get(world.name, {}) | run(world, args.only, args.seeds)
        report = {
            "what": "share of the uniform-to-oracle gap closed and speed-up; the script says how",
            "seeds": args.seeds,
            "machine": {
                "cpu": platform.machine(),
                "python": platform.python_version(),
                "numpy": np.__version__,
            },
            "load_average": round(os.getloadavg()[0], 2),
            "worlds": worlds,
        }
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
