"""What the fault tests and the soak share: jobs with known fates, and one that kills servers at random."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from azrl.executor import Job, Limits, Result, Status
from azrl.executor.pooled import PooledExecutor

_SHORT = Limits(cpu_s=0.05, wall_s=2.0, memory_mb=128)
_HOSTILE: tuple[tuple[str, tuple[Status, ...]], ...] = (
    ("def f(x):\n    while True: pass", (Status.TIMEOUT,)),
    ("def f(x):\n    return len(bytearray(1 << 40))", (Status.MEMORY,)),
    ("import os\ndef f(x):\n    os._exit(0)", (Status.CRASH,)),
    ("import os\ndef f(x):\n    os.kill(os.getpid(), 9)", (Status.CRASH, Status.ERROR)),
    ("import os\ndef f(x):\n    os.fork()", (Status.ERROR, Status.CRASH)),
    ("import os\ndef f(x):\n    os.write(3, b'K' + b'\\xff' * 40); os._exit(0)", (Status.CRASH,)),
    ("import os\ndef f(x):\n    while True: os.write(3, b'x' * 65536)", (Status.CRASH, Status.TIMEOUT)),
    ("import os\ndef f(x):\n    os.closerange(0, 64)", (Status.CRASH,)),
    ("def f(x):\n    return f(x)", (Status.ERROR,)),
    ("def f(x):\n    return open('/etc/passwd').read()", (Status.ERROR,)),
)


def soak_jobs(n: int, hostile: float, seed: int) -> Iterator[tuple[Job, str | tuple[Status, ...]]]:
    """Jobs with the right output, or with the statuses that a hostile one may end in."""
    rng = random.Random(seed)
    for i in range(n):
        if rng.random() < hostile:
            program, fates = _HOSTILE[rng.randrange(len(_HOSTILE))]
            yield Job(program, (str(i),), _SHORT), fates
        else:
            a, b = rng.randrange(1000), rng.randrange(1, 60)
            text = f"def f(x):\n    return sorted((x * k + {a}) % 97 for k in range({b}))"
            yield Job(text, (str(i),)), str(sorted((i * k + a) % 97 for k in range(b)))


def as_expected(result: Result, expected: str | tuple[Status, ...]) -> bool:
    """Whether a job ended as it must."""
    if isinstance(expected, tuple):
        return result.status in expected
    return result.status is Status.OK and result.outputs == (expected,)


@contextmanager
def killing(
    executor: PooledExecutor, every_s: float, seed: int, children: bool = False
) -> Iterator[list[int]]:
    """Kill -9 a random server, or with `children` what a random one runs, again and again while the block runs;
    gives the list of the killed."""
    killed: list[int] = []
    done, rng = threading.Event(), random.Random(seed)

    def kill() -> None:
        while not done.wait(rng.uniform(0.2, 1.8) * every_s):
            pids = executor.server_pids()
            if children:
                pids = tuple(child for pid in pids for child in children_of(pid))
            if pids:
                pid = rng.choice(pids)
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
                    killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        done.set()
        thread.join()


def children_of(pid: int) -> list[int]:
    """Children of a process, whichever of its threads started them; none of one that is gone."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, path.read_text().split())
    return found
