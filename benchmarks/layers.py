"""What the sandbox's inner layers cost a job: CPU time with all of them, with none, and with one left out.

    python benchmarks/layers.py [--rounds 9] [--jobs 300] [--json FILE]

One executor a setting, one worker each, all open at once; the rounds take them in a new order each time, and
medians over rounds are kept. Times are CPU microseconds of the server and its children for one small
job with one input, by the kernel's accounting, without the host. `cost` is (all - setting) / all, by rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from azrl.executor import Job
from azrl.executor.crew import PoolSettings
from azrl.executor.process import ProcessExecutor

PER_CHILD = ("landlock", "rlimits", "seccomp", "user")  # the others are entered once a server
INNER = ("capabilities", "landlock", "namespaces", "rlimits", "root", "seccomp", "user")
PROGRAM = """
def f(xs, k):
    d = {}
    for i, x in enumerate(xs):
        d.setdefault(x % k, []).append(i * x)
    return sorted((a, sum(b)) for a, b in d.items())
"""


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and the children that it has waited for, finer than /proc/PID/stat's ticks."""
    own = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) * 1e-9
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return own + sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, print JSON, write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    settings = {
        "all layers": (),
        "no inner layer": INNER,
        **{f"without {name}": (name,) for name in PER_CHILD},
    }
    samples: dict[str, list[float]] = {name: [] for name in settings}
    order = random.Random(0)
    with ExitStack() as stack:
        open_ = {
            name: stack.enter_context(
                ProcessExecutor(PoolSettings(1, canary_every=0), minimum=(), without=without)
            )
            for name, without in settings.items()
        }
        jobs = [Job(PROGRAM, (f"[3, 1, 4, 1, 5, 9, 2, {i}], 3",)) for i in range(args.jobs)]
        for executor in open_.values():
            executor.run(jobs[:20])
        for _ in range(args.rounds):
            for name in order.sample(tuple(settings), len(settings)):
                [pid] = open_[name].server_pids()
                before = cpu_seconds(pid)
                open_[name].run(jobs)
                samples[name].append((cpu_seconds(pid) - before) / args.jobs)
    every = samples["all layers"]
    rows = [
        {
            "setting": name,
            "cpu_us_per_job": round(statistics.median(found) * 1e6),
            "cost": round(statistics.median((a - b) / a for a, b in zip(every, found, strict=True)), 3),
        }
        for name, found in samples.items()
    ]
    result = {
        "uid": os.geteuid(),
        "python": sys.version.split()[0],
        "kernel": os.uname().release,
        "rounds": args.rounds,
        "jobs_per_round": args.jobs,
        "rows": rows,
    }
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
