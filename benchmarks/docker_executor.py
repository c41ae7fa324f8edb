"""Jobs a second of the docker executor against the process executor, and against docker exec for each program.

    utils/with_docker.sh python benchmarks/docker_executor.py [--rounds 5] [--workers 1] [--jobs 400] [--json FILE]

Both executors run in turn, medians over rounds are kept. `cpu_us_per_job` is CPU time of all that takes part: this
process, the servers and their children, and for docker also the relay, Docker's daemon, containerd and its shim.
`ratio_cpu` and `ratio_wall` are docker's jobs against those of process: by that CPU time, and by the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from azrl.executor import Job, Status, open_executor
from azrl.executor.container import daemon
from azrl.executor.container.build import build
from azrl.executor.container.executor import DockerExecutor
from azrl.executor.container.options import Options

IMAGE = "azrl-sandbox-bench"
INPUTS = (1, 10)
DAEMONS = (b"dockerd", b"containerd")
PROGRAM = """
def f(xs, k):
    d = {{}}
    for i, x in enumerate(xs):
        d.setdefault(x % k, []).append(i * x + {})
    return sorted((a, sum(b)) for a, b in d.items())
"""
_serial = iter(range(10**9))


def jobs_of(count: int, k: int) -> list[Job]:
    """Programs that nobody has seen before, each with k inputs."""
    serials = [next(_serial) for _ in range(count)]
    return [Job(PROGRAM.format(s), [f"[3, 1, 4, 1, 5, 9, {s}, {i}], 3" for i in range(k)]) for s in serials]


def spent(pid: int) -> float:
    """CPU seconds of a process and of the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def daemons() -> Iterator[int]:
    """The processes of the private daemon, its containerd and its shims: all have its folder in their arguments."""
    folder = os.path.dirname(os.environ["DOCKER_HOST"].removeprefix("unix://")).encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = path.read_bytes().split(b"\0")
            if os.path.basename(words[0]).startswith(DAEMONS) and any(folder in word for word in words):
                yield int(path.parent.name)


def measure(executor: Any, others: Callable[[], list[int]], count: int, k: int) -> tuple[float, float]:
    """Seconds a job, by the clock and of CPU."""
    jobs = jobs_of(count, k)
    pids = others()
    cpu, wall = -time.process_time() - sum(map(spent, pids)), -time.perf_counter()
    results = executor.run(jobs)
    wall, cpu = wall + time.perf_counter(), cpu + time.process_time() + sum(map(spent, pids))
    if others() != pids or any(result.status is not Status.OK for result in results):
        sys.exit("a server was replaced or a job failed; measure again")
    return wall / count, cpu / count


def by_exec(executor: DockerExecutor, count: int) -> float:
    """Seconds a program of a docker exec in a container that runs already."""
    client = daemon.connect(None)
    start = time.perf_counter()
    for job in jobs_of(count, 1):
        text = f"{job.program}\nprint(repr(f({job.inputs[0]})))"
        made = client.api.exec_create(executor.box.container_id, ["python3", "-I", "-S", "-c", text])
        if not client.api.exec_start(made["Id"]).startswith(b"["):
            sys.exit("a docker exec failed")
    wall = (time.perf_counter() - start) / count
    client.close()
    return wall


def main() -> None:
    """Measure, print, write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    built = build(IMAGE, None)
    client = daemon.connect(None)
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    execs: list[float] = []
    options = Options(image=IMAGE, workers=args.workers)
    start = time.perf_counter()
    with (
        open_executor("docker", workers=args.workers, container=options) as docker,
        open_executor("process", workers=args.workers) as process,
    ):
        assert isinstance(docker, DockerExecutor)
        ready = time.perf_counter() - start

        def inside() -> list[int]:
            top = client.api.top(docker.box.container_id, ps_args="-eo pid,ppid,args")
            [relay] = [pid for pid, _, what in top["Processes"] if "relay.py" in what]
            servers = [pid for pid, parent, _ in top["Processes"] if parent == relay]
            return sorted({int(relay), *map(int, servers), *daemons()})

        backends = {"process": (process, lambda: list(process.server_pids())), "docker": (docker, inside)}
        for executor, _ in backends.values():
            executor.run(jobs_of(50, 1))
        for _ in range(args.rounds):
            for k in INPUTS:
                for name, (executor, others) in backends.items():
                    found.setdefault((name, k), []).append(
                        measure(executor, others, args.jobs // (1 + k // 4), k)
                    )
            execs.append(by_exec(docker, 5))
    client.images.remove(IMAGE, force=True)
    client.close()
    rows = []
    for k in INPUTS:
        (wall, cpu), (docker_wall, docker_cpu) = (
            map(statistics.median, zip(*found[name, k], strict=True)) for name in ("process", "docker")
        )
        rows.append(
            {
                "inputs_per_job": k,
                "process_jobs_per_s": round(1 / wall),
                "docker_jobs_per_s": round(1 / docker_wall),
                "process_cpu_us_per_job": round(cpu * 1e6),
                "docker_cpu_us_per_job": round(docker_cpu * 1e6),
                "ratio_cpu": round(
                    statistics.median(
                        p[1] / d[1] for p, d in zip(found["process", k], found["docker", k], strict=True)
                    ),
                    2,
                ),
                "ratio_wall": round(
                    statistics.median(
                        p[0] / d[0] for p, d in zip(found["process", k], found["docker", k], strict=True)
                    ),
                    2,
                ),
            }
        )
    report = {
        "workers": args.workers,
        "rounds": args.rounds,
        "cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": built.python,
        "image_mb": built.megabytes,
        "image_build_s": round(built.seconds, 2),
        "start_and_self_check_s": round(ready, 2),
        "rows": rows,
        "docker_exec_per_program_per_s": round(1 / statistics.median(execs), 1),
    }
    print(json.dumps(report, indent=2))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
