"""Does it learn? Self-play against its controls, from the shipped model, over seeds.

`python benchmarks/learning.py --seeds 0 1 2`. Each arm of each seed is one process on one core, its sandbox on another:

- `selfplay`: `config/cpu.yaml` as it is, about six minutes where nothing else runs. It counts steps, not seconds, so
  that a busy machine changes how long it takes and not what it gives.
- `shuffled`: the same, with rewards permuted within each cell, so that they say nothing.
- `supervised`: the warm start goes on for as long, its learning rate falling.

Every model is measured on the frozen probe before and after: greedy and sampled pass@1, pass@8, by kind and bin.
`base` is the shipped model itself. Writes benchmarks/results/learning.json (arms that it holds already are skipped,
so an interrupted measurement can be taken up again) and prints the table of docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "learning.json"
ARMS = ("base", "selfplay", "shuffled", "supervised")
MEASURES = ("greedy", "sampled", "pass@8")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def call(*words: str) -> None:
    """Run main.py, quietly; its output is shown when it fails."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *words],
        env=ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"main.py {' '.join(words)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def probe_model(model: str, name: str, folder: Path) -> dict[str, float]:
    """The frozen probe of a model: the first line of a run of one step, which is not looked at any further."""
    call(
        "--config", "config/cpu.yaml", f"paths.runs={folder}", f"run.name={name}", f"model.name={model}",
        "run.iterations=1", "probe.at_end=false",
    )  # fmt: skip
    return probes(json.loads((folder / name / "metrics.jsonl").read_text().splitlines()[0]))


def run_arm(arm: str, seed: int, supervised_steps: int, folder: Path) -> dict[str, Any]:
    """One arm of one seed: its last probe and, for self-play, what the run itself logged."""
    name = f"{arm}-{seed}"
    if arm == "base":
        return {"arm": arm, "seed": seed, "after": probe_model("tiny", name, folder)}
    if arm == "supervised":
        out = folder / f"{name}-model"
        call(
            "warmstart", "--seed", str(1000 + seed), "--", "--start", "tiny", "--steps", str(supervised_steps),
            "--stir", "0", "--learning-rate", "1e-3", "--out", str(out),
        )  # fmt: skip
        return {"arm": arm, "seed": seed, "after": probe_model(str(out), name, folder)}
    call(
        "--config", "config/cpu.yaml", "--seed", str(seed), f"paths.runs={folder}", f"run.name={name}",
        "probe.at_start=false",
        *(["selfplay.shuffle_rewards=true"] if arm == "shuffled" else []),
    )  # fmt: skip
    rows = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
    return {"arm": arm, "seed": seed, "after": probes(rows[-1]), **summary(rows[1:])}


def summary(steps: list[dict[str, float]]) -> dict[str, Any]:
    """What a self-play run's own metrics say of waste, collapse and pace."""
    wall = sum(r["time/wall"] for r in steps)
    busy = sum(r.get("time/generate", 0) + r.get("time/update", 0) for r in steps)

    def ends(key: str) -> list[float]:
        values = [r[key] for r in steps if key in r]
        return [fmean(values[:20]), fmean(values[-20:])]

    return {
        "steps": len(steps),
        "wall_s": wall,
        "overhead": 1 - busy / wall,
        "tokens_per_s": sum(r["tokens"] for r in steps) / wall,
        "trained_share": fmean(r["trained/share"] for r in steps if "trained/share" in r),
        "unique_rate_min": min(r["unique_rate"] for r in steps if "unique_rate" in r),
        **{
            key: ends(key)
            for key in ("unique_rate", "admitted", "entropy", "size/statements", "format/solver")
        },
        **{key: ends(key) for key in steps[-1] if key.startswith("solve_rate/")},
    }


def probes(row: dict[str, float]) -> dict[str, float]:
    """The probe's part of a metrics line."""
    return {key.removeprefix("probe/"): value for key, value in row.items() if key.startswith("probe/")}


def mean_error(values: list[float]) -> tuple[float, float]:
    """Mean and standard error over seeds (NaN for a single one)."""
    return fmean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def table(results: list[dict[str, Any]]) -> str:
    """Gains over the base in points, mean and standard error over seeds."""
    base = next(r["after"] for r in results if r["arm"] == "base")
    lines = ["| arm | seeds | " + " | ".join(MEASURES) + " |", "|---|---|" + "---|" * len(MEASURES)]
    lines.append("| base | | " + " | ".join(f"{100 * base[m]:.1f}" for m in MEASURES) + " |")
    for arm in ARMS[1:]:
        chosen = [r for r in results if r["arm"] == arm]
        if chosen:
            gains = [mean_error([100 * (r["after"][m] - base[m]) for r in chosen]) for m in MEASURES]
            cells = " | ".join(f"{mean:+.1f} ± {error:.1f}" for mean, error in gains)
            lines.append(f"| {arm} | {len(chosen)} | {cells} |")
    for measure in ("greedy", "sampled"):
        lines += ["", f"{measure} pass@1 by kind and bin, points gained:", ""]
        cells = [k for k in base if k.startswith(f"{measure}/") and k.count("/") == 2]
        names = [c.removeprefix(f"{measure}/") for c in cells]
        lines += ["| arm | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
        lines.append("| base | " + " | ".join(f"{100 * base[c]:.0f}" for c in cells) + " |")
        for arm in ARMS[1:]:
            chosen = [r for r in results if r["arm"] == arm]
            if chosen:
                gains = [fmean(100 * (r["after"][c] - base[c]) for r in chosen) for c in cells]
                lines.append(f"| {arm} | " + " | ".join(f"{g:+.1f}" for g in gains) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, `--jobs` arms at a time, then print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--supervised-steps",
        type=int,
        default=1500,
        help="as long as self-play takes: 0.22 s a step, of its 1.1 s",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    results: list[dict[str, Any]] = json.loads(options.out.read_text()) if options.out.exists() else []
    have = {(r["arm"], r["seed"]) for r in results}
    wanted = [("base", 0), *((arm, seed) for arm in options.arms for seed in options.seeds if arm != "base")]
    wanted = [pair for pair in wanted if pair not in have]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        runs = [
            pool.submit(run_arm, arm, seed, options.supervised_steps, Path(folder)) for arm, seed in wanted
        ]
        for run in runs:
            results.append(run.result())
            options.out.parent.mkdir(exist_ok=True)
            options.out.write_text(json.dumps(results, indent=1))
            print(f"{results[-1]['arm']} seed {results[-1]['seed']} done", flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
