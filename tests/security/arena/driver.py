"""Hosts the executor under attack, in a process of its own that holds secrets and can be killed.

    python driver.py SETTINGS

SETTINGS is a JSON object: backend, image, workers, layers ("all" or "outer"), secret, secret_file. One JSON line in,
`{"jobs": [...]}`, gives one line out, `{"results": [...], "seconds": ...}`. The first line out says what the
executor is and which process ids serve it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from azrl.errors import UserError
from azrl.executor import Executor, Job, Limits, open_executor
from azrl.executor.container.options import Options
from azrl.executor.crew import PoolSettings
from azrl.executor.process import ProcessExecutor

INNER = ("capabilities", "landlock", "namespaces", "rlimits", "root", "seccomp", "user")


def executor(settings: dict[str, Any]) -> Executor:
    """The executor under test; with layers "outer" the inner ones are switched off."""
    if settings["layers"] == "all":
        container = Options(image=settings["image"], workers=settings["workers"])
        return open_executor(settings["backend"], workers=settings["workers"], container=container)
    bare = ProcessExecutor(PoolSettings(settings["workers"]), minimum=(), without=INNER)
    bare.start()
    return bare


def serve(opened: Executor) -> None:
    """Answer requests until the input ends."""
    for line in sys.stdin:
        jobs = [Job(**{**job, "limits": Limits(**job["limits"])}) for job in json.loads(line)["jobs"]]
        start = time.monotonic()
        results = opened.run(jobs)
        answer = [[r.status.value, list(r.outputs), r.error, r.cpu_ms, list(r.errors)] for r in results]
        say({"results": answer, "seconds": time.monotonic() - start})


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def main() -> None:
    """Leave a secret open, open the executor, serve. The settings, in memory and argv, hold another."""
    settings = json.loads(sys.argv[1])
    leaked = os.open(settings["secret_file"], os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        opened = executor(settings)
    except UserError as error:
        say({"refused": str(error)})
        return
    with opened:
        say({"describe": opened.describe(), "pid": os.getpid()})
        serve(opened)


if __name__ == "__main__":
    main()
