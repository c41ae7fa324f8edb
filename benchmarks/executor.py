"""Jobs and runs a second of the process executor, against the bare fork of the same warm interpreter.

    python benchmarks/executor.py [--rounds 5] [--workers 1] [--jobs 400] [--json FILE]

The floor is `os.fork`, `_exit` and `waitpid` in an interpreter that has loaded what a fork server has. Beside it, in
the same rounds: a subprocess for each program, and a `multiprocessing.Pool` whose workers are used again (it isolates
nothing). All are interleaved and medians over rounds kept. Figures a core are CPU time, which other load on the
machine distorts least: `ratio` is runs a second and core against bare forks a second and core. It counts the servers
and their children, canaries too; `ratio_with_host` counts this process as well (parsing, judging and supervising).
Every job is a program of its own, so nothing comes from a cache.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from azrl.executor import Job, Status, open_executor
from azrl.executor.guest import ENVIRONMENT
from azrl.executor.process import ProcessExecutor

SANDBOX = Path(__file__).resolve().parents[1] / "sandbox"
INPUTS = (1, 10, 50)
GOALS = {1: 0.5, 10: 4.0, 50: 12.0}
FLOOR = """
import os, sys
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
sys.path.insert(0, sys.argv[1])
import server
n = int(sys.argv[2])
server.prepare(0)
cpu = lambda: sum(sum(getrusage(who)[:2]) for who in (RUSAGE_SELF, RUSAGE_CHILDREN))
start = cpu()
for _ in range(n):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
print((cpu() - start) / n)
"""
PROGRAM = """
def f(xs, k):
    d = {{}}
    for i, x in enumerate(xs):
        d.setdefault(x % k, []).append(i * x + {})
    return sorted((a, sum(b)) for a, b in d.items())
"""
_serial = iter(range(10**9))


def questions(count: int, k: int) -> list[tuple[str, list[str]]]:
    """Programs that nobody has seen before, each with k inputs."""
    serials = [next(_serial) for _ in range(count)]
    return [(PROGRAM.format(s), [f"[3, 1, 4, 1, 5, 9, {s}, {i}], 3" for i in range(k)]) for s in serials]


def floor(count: int) -> float:
    """CPU seconds of a bare fork."""
    command = [sys.executable, "-S", "-B", "-P", "-s", "-c", FLOOR, str(SANDBOX), str(count)]
    environment = {**ENVIRONMENT, "PYTHONHASHSEED": "1"}  # a fork server's own
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def spent(pid: int) -> float:
    """CPU seconds of a process, by the kernel's fine count, and of the children that it has waited for."""
    own = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) * 1e-9
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return own + sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")


def by_executor(executor: ProcessExecutor, count: int, k: int) -> tuple[float, float, float]:
    """Seconds a job: wall, this process's CPU, the servers' and children's CPU."""
    jobs = [Job(program, inputs) for program, inputs in questions(count, k)]
    pids = executor.server_pids()
    guest, host, wall = -sum(map(spent, pids)), -time.process_time(), -time.perf_counter()
    results = executor.run(jobs)
    wall, host, guest = wall + time.perf_counter(), host + time.process_time(), guest + sum(map(spent, pids))
    if executor.server_pids() != pids or any(r.status is not Status.OK for r in results):
        sys.exit("a server was replaced or a job failed; measure again")
    return wall / count, host / count, guest / count


def by_subprocess(count: int, k: int) -> float:
    """CPU seconds of an interpreter for each program."""
    before = sum(os.times()[2:4])
    for program, inputs in questions(count, k):
        text = program + "".join(f"print(repr(f({call})))\n" for call in inputs)
        subprocess.run([sys.executable, "-I", "-S", "-c", text], stdout=subprocess.DEVNULL, check=True)
    return (sum(os.times()[2:4]) - before) / count


def execute(question: tuple[str, list[str]]) -> list[str]:
    """What a worker of the multiprocessing pool does: no isolation at all."""
    program, inputs = question
    answers = []
    for call in inputs:
        scope: dict[str, Any] = {}
        exec(program, scope)
        answers.append(repr(eval(f"f({call})", scope)))
    return answers


def by_multiprocessing(count: int, k: int) -> float:
    """CPU seconds a job of a reused worker; this process's part is left out, as above."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        [worker] = pool._pool  # type: ignore[attr-defined]
        pool.map(execute, questions(2, k), 1)
        before = spent(worker.pid)
        pool.map(execute, questions(count, k), 1)
        return (spent(worker.pid) - before) / count


def main() -> None:
    """Measure, print, write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=400, help="jobs with one input a round; fewer with more")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    forks: list[float] = []
    ours: dict[int, list[tuple[float, ...]]] = {k: [] for k in INPUTS}
    others: dict[str, Callable[[int, int], float]] = {
        "a subprocess a program": lambda count, k: by_subprocess(max(count // 20, 5), k),
        "multiprocessing, workers reused": by_multiprocessing,
    }
    theirs: dict[tuple[str, int], list[float]] = {(name, k): [] for name in others for k in INPUTS}
    with open_executor("process", workers=args.workers) as executor:
        assert isinstance(executor, ProcessExecutor)
        by_executor(executor, 50, 1)
        for _ in range(args.rounds):
            for k in INPUTS:
                count = max(args.jobs // k, 80)
                before = floor(args.jobs)
                found = by_executor(executor, count, k)
                fork = (before + floor(args.jobs)) / 2
                forks.append(fork)
                ratio, with_host = k * fork / found[2], k * fork / (found[1] + found[2])
                ours[k].append((*found, ratio, with_host))
                for name, measure in others.items():
                    theirs[name, k].append(k / measure(count, k))
    rows = []
    for k in INPUTS:
        wall, host, guest, ratio, with_host = map(statistics.median, zip(*ours[k], strict=True))
        rows.append(
            {
                "inputs_per_job": k,
                "ratio": round(ratio, 2),
                "goal": GOALS[k],
                "ratio_with_host": round(with_host, 2),
                "runs_per_s_per_core": round(k / guest),
                "jobs_per_s_by_the_clock": round(1 / wall),
                "guest_us_per_job": round(guest * 1e6),
                "host_us_per_job": round(host * 1e6),
                **{f"{name}: runs/s/core": round(statistics.median(theirs[name, k])) for name in others},
            }
        )
    result = {
        "workers": args.workers,
        "cpus": os.cpu_count(),
        "python": sys.version.split()[0],
        "kernel": os.uname().release,
        "load_average_1_min": round(os.getloadavg()[0], 1),
        "rounds": args.rounds,
        "bare_forks_per_s_per_core": round(1 / statistics.median(forks)),
        "layers": executor.describe(),
        "rows": rows,
    }
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
