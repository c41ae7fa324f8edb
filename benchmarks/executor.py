"""Jobs and runs a second of the process executor, against the bare fork of the same warm interpreter.

    python benchmarks/executor.py [--repeats 5] [--workers 2] [--json FILE]

The floor is `os.fork`, `_exit` and `waitpid` in an interpreter that has loaded what a fork server has. Floor
and jobs are interleaved and medians kept. Rates a core come from CPU time (children included), which other
load on the machine distorts least. `ratio` is runs a second and core against bare forks a second and core,
without the host; `jobs_per_s` is by the wall clock.
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
from azrl.executor.process import ProcessExecutor

SANDBOX = Path(__file__).resolve().parents[1] / "sandbox"
FLOOR = """
import os, sys
sys.path.insert(0, sys.argv[1])
import server
n = int(sys.argv[2])
server.prepare(0)
start = sum(os.times()[:4])
for _ in range(n):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
print((sum(os.times()[:4]) - start) / n)
"""
PROGRAM = """
def f(xs, k):
    d = {}
    for i, x in enumerate(xs):
        d.setdefault(x % k, []).append(i * x)
    return sorted((a, sum(b)) for a, b in d.items())
"""


def floor(count: int) -> float:
    """CPU seconds of a bare fork."""
    command = [sys.executable, "-S", "-B", "-P", "-s", "-c", FLOOR, str(SANDBOX), str(count)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, print a table, write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=600)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    forks: list[float] = []
    samples: dict[int, list[tuple[float, float, float]]] = {1: [], 10: [], 50: []}
    with open_executor("process", workers=args.workers) as executor:
        assert isinstance(executor, ProcessExecutor)
        for _ in range(args.repeats):
            forks.append(floor(args.jobs))
            for k, found in samples.items():
                inputs = [f"[3, 1, 4, 1, 5, 9, 2, {i}], 3" for i in range(k)]
                jobs = [Job(PROGRAM, inputs)] * max(args.jobs // k, 100)
                pids = executor.server_pids()
                before = sum(map(cpu_seconds, pids))
                start, host = time.perf_counter(), time.process_time()
                executor.run(jobs)
                wall, host = time.perf_counter() - start, time.process_time() - host
                guest = sum(map(cpu_seconds, pids)) - before
                found.append((wall / len(jobs), host / len(jobs), guest / len(jobs)))
    fork = statistics.median(forks)
    rows = []
    for k, found in samples.items():
        wall, host, guest = (statistics.median(column) for column in zip(*found, strict=True))
        rows.append(
            {
                "inputs_per_job": k,
                "jobs_per_s": round(1 / wall),
                "jobs_per_s_per_core": round(1 / guest),
                "runs_per_s_per_core": round(k / guest),
                "ratio": round(k * fork / guest, 2),
                "host_us_per_job": round(host * 1e6),
            }
        )
    result = {
        "workers": args.workers,
        "cpus": os.cpu_count(),
        "python": sys.version.split()[0],
        "bare_forks_per_s_per_core": round(1 / fork),
        "rows": rows,
    }
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
