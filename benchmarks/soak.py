"""A long run of jobs, some of them hostile, servers killed at will: nothing lost, nothing wrong, nothing left.

    python benchmarks/soak.py [--jobs 1000000] [--hostile 0.1] [--workers 2] [--kill-every 30] [--json FILE]

Every honest job has an answer of its own that this process computes itself; every hostile one has the statuses it
may end in. Memory growth is this process's, and the most of a server's that is not killed meanwhile, from a tenth of
the way to the end: before that, caches fill. A line every five seconds says how far it is. Exit code 1 if anything
is amiss.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

from support.faults import as_expected, children_of, killing, soak_jobs

from azrl.executor import Job, Status, open_executor
from azrl.executor.pooled import PooledExecutor

MAX_GROWTH_MB = 5.0
TELL_EVERY_S = 5.0


class Progress:
    """Every few seconds a line: how many of `jobs` are done, how fast since the last line, and what went wrong."""

    def __init__(
        self, jobs: int, tell: Callable[[str], object], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._jobs, self._tell, self._now = jobs, tell, now
        self._told_at, self._told = now(), 0

    def at(self, done: int, killed: int, wrong: int, infra: int) -> None:
        """So far this many jobs are done, servers killed, answers wrong, jobs without a verdict."""
        seconds = self._now() - self._told_at
        if seconds < TELL_EVERY_S:
            return
        rate = (done - self._told) / seconds
        self._told_at, self._told = self._told_at + seconds, done
        self._tell(
            f"{done:,} of {self._jobs:,} jobs ({done / self._jobs:.0%}), {rate:,.0f} a second, "
            f"{killed} servers killed, {wrong} wrong, {infra} without a verdict"
        )


def resident_mb(pid: int | str) -> float:
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def sizes(executor: PooledExecutor) -> dict[int, float]:
    """Resident memory of each server by process id."""
    found: dict[int, float] = {}
    for pid in executor.server_pids():
        with suppress(FileNotFoundError):  # killed just now
            found[pid] = resident_mb(pid)
    return found


def descriptors() -> int:
    """Open descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def descendants(pid: int) -> list[int]:
    """Processes below one."""
    return [below for child in children_of(pid) for below in (child, *descendants(child))]


def say(line: str) -> None:
    """Standard error, at once: the result on standard output stays clean."""
    print(line, file=sys.stderr, flush=True)


def soak(jobs: int, hostile: float, workers: int, kill_every_s: float, seed: int) -> dict[str, float]:
    """Run it; counts and sizes by name."""
    progress = Progress(jobs, say)
    before, others = descriptors(), set(descendants(os.getpid()))
    seen = bytearray(jobs)
    wrong = doubled = infra = done = hostiles = 0
    waiting: dict[int, object] = {}

    def asked() -> Iterator[Job]:
        nonlocal hostiles
        for index, (job, fate) in enumerate(soak_jobs(jobs, hostile, seed)):
            waiting[index] = fate
            hostiles += isinstance(fate, tuple)
            yield job

    start, host = time.perf_counter(), time.process_time()
    first_mb, servers = 0.0, dict[int, float]()
    with open_executor("process", workers=workers) as executor:
        assert isinstance(executor, PooledExecutor)
        with killing(executor, kill_every_s, seed) if kill_every_s else nullcontext([]) as killed:
            for index, result in executor.stream(asked()):
                doubled += seen[index]
                seen[index] = 1
                fate = waiting.pop(index)
                if result.status is Status.INFRA:
                    infra += 1
                elif not as_expected(result, fate):  # type: ignore[arg-type]
                    wrong += 1
                    say(f"wrong: job {index} wanted {fate}, got {result}")
                done += 1
                progress.at(done, len(killed), wrong, infra)
                if done == max(jobs // 10, 1):
                    first_mb, servers = resident_mb("self"), sizes(executor)
        last_mb = resident_mb("self")
        growths = [mb - servers[pid] for pid, mb in sizes(executor).items() if pid in servers]
        metrics = executor.metrics()
    seconds = time.perf_counter() - start
    return {
        "jobs": jobs,
        "hostile": hostiles,
        "lost": seen.count(0),
        "doubled": doubled,
        "wrong": wrong,
        "infra": infra,
        "servers_killed": len(killed),
        "descriptors_before": before,
        "descriptors_after": descriptors(),
        "host_memory_mb": round(last_mb, 1),
        "host_memory_growth_mb": round(last_mb - first_mb, 2),
        "servers_that_lived": len(growths),
        "server_memory_growth_mb": round(max(growths, default=0.0), 2),
        "processes_left": len(set(descendants(os.getpid())) - others),
        "seconds": round(seconds, 1),
        "jobs_per_s": round(jobs / seconds),
        "host_us_per_job": round((time.process_time() - host) / jobs * 1e6),
        **{f"executor/{name}": round(value, 3) for name, value in metrics.items()},
    }


def amiss(outcome: dict[str, float]) -> list[str]:
    """What went wrong, by name."""
    faults = [name for name in ("lost", "doubled", "wrong", "processes_left") if outcome[name]]
    if outcome["descriptors_before"] != outcome["descriptors_after"]:
        faults.append("descriptors")
    growth = ("host_memory_growth_mb", "server_memory_growth_mb")
    faults += [name for name in growth if outcome[name] > MAX_GROWTH_MB]
    return faults


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--hostile", type=float, default=0.1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill-every", type=float, default=30.0, help="mean seconds between kills; 0: none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    outcome = soak(args.jobs, args.hostile, args.workers, args.kill_every, args.seed)
    print(json.dumps(outcome, indent=2))
    if args.json:
        args.json.write_text(json.dumps(outcome, indent=2) + "\n")
    faults = amiss(outcome)
    if faults:
        sys.exit(f"amiss: {', '.join(faults)}")


if __name__ == "__main__":
    main()
