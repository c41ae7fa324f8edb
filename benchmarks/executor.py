"""Jobs and runs a second of the process executor, against the bare fork of the same warm interpreter.

    python benchmarks/executor.py [--repeats 5] [--workers 2] [--json FILE]

The floor is `os.fork`, `_exit` and `waitpid` in an interpreter that has loaded what a fork server has. Floor and
jobs are interleaved, medians are kept. `ratio` compares runs a second per process: the floor's one process
against `workers` servers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from azrl.executor import Job, open_executor

SANDBOX = Path(__file__).resolve().parents[1] / "sandbox"
FLOOR = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import server
server.prepare(0)
n = int(sys.argv[2])
start = time.perf_counter()
for _ in range(n):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
print(n / (time.perf_counter() - start))
"""
PROGRAM = """
def f(xs, k):
    d = {}
    for i, x in enumerate(xs):
        d.setdefault(x % k, []).append(i * x)
    return sorted((a, sum(b)) for a, b in d.items())
"""


def floor(count: int) -> float:
    """Bare forks a second."""
    command = [sys.executable, "-S", "-B", "-P", "-s", "-c", FLOOR, str(SANDBOX), str(count)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure, print a table, write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=600)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    forks: list[float] = []
    rates: dict[int, list[float]] = {1: [], 10: [], 50: []}
    host_us: dict[int, list[float]] = {k: [] for k in rates}
    with open_executor("process", workers=args.workers) as executor:
        for _ in range(args.repeats):
            forks.append(floor(args.jobs))
            for k in rates:
                inputs = [f"[3, 1, 4, 1, 5, 9, 2, {i}], 3" for i in range(k)]
                jobs = [Job(PROGRAM, inputs)] * max(args.jobs // k, 20)
                start, cpu = time.perf_counter(), time.process_time()
                executor.run(jobs)
                rates[k].append(len(jobs) / (time.perf_counter() - start))
                host_us[k].append((time.process_time() - cpu) / len(jobs) * 1e6)
    base = statistics.median(forks)
    found = {
        "workers": args.workers,
        "cpus": os.cpu_count(),
        "python": sys.version.split()[0],
        "bare_forks_per_s": round(base),
        "rows": [
            {
                "inputs_per_job": k,
                "jobs_per_s": round(statistics.median(rate)),
                "runs_per_s": round(statistics.median(rate) * k),
                "ratio": round(statistics.median(rate) * k / (base * args.workers), 2),
                "host_us_per_job": round(statistics.median(host_us[k])),
            }
            for k, rate in rates.items()
        ],
    }
    print(json.dumps(found, indent=2))
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
