"""The executor's host as a process of its own, with a bystander beside it, in its own pid and IPC namespaces.

A signal to everyone then reaches nobody else on the machine, and what a job leaves there ends with the host.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from arena import observe
from arena.environments import NOBODY, WORKERS, Environment, Unavailable
from arena.traps import Traps

REPLY_SECONDS = 60.0
_STOP_SECONDS = 15.0
_SOURCES = Path(__file__).resolve().parents[3] / "src"
_NAMESPACES = ("--pid", "--ipc", "--mount-proc", "--fork", "--kill-child")
_DROP = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
_CAN_RUN = "import subprocess, sys, azrl.executor; subprocess.run([sys.executable, '-c', ''], check=True)"


class Host:
    """A running host. Raises Unavailable, with the reason, where there can be none."""

    def __init__(self, environment: Environment, traps: Traps) -> None:
        containers = _containers()
        self._process = _spawn(environment, traps)
        self._containers: set[int] = set()
        greeting = self.line(REPLY_SECONDS) or {"refused": "the executor's host did not start"}
        if "refused" in greeting:
            self.stop()
            raise Unavailable(greeting["refused"])
        self.description: dict[str, str] = greeting["describe"]
        self._containers = _containers() - containers

    def members(self) -> set[int]:
        """Every process of the executor, its host and the bystander."""
        found = observe.descendants(self._process.pid)
        for pid in self._containers:
            found |= {pid} | observe.descendants(pid)
        return found

    def send(self, jobs: list[dict[str, Any]]) -> bool:
        """Ask for jobs to be run; False if the host is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"jobs": jobs}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def line(self, seconds: float) -> dict[str, Any] | None:
        """The host's next line, None if none comes in time, {} if it is gone."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return None
        line = self._process.stdout.readline()
        return json.loads(line) if line else {}

    def stop(self) -> None:
        """End the host and all that it left."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        members = observe.descendants(self._process.pid)
        try:
            self._process.stdin.close()
            self._process.wait(_STOP_SECONDS)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            for pid in members:
                _kill(pid)
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _spawn(environment: Environment, traps: Traps) -> subprocess.Popen[str]:
    root = os.geteuid() == 0
    namespaces = ["unshare", *_NAMESPACES, *([] if root else ["--map-current-user"])]
    probe = subprocess.run([*namespaces, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        raise Unavailable(f"no pid namespace to keep the attacks in: {probe.stderr.strip()}")
    bystander = " ".join([*(_DROP if root else ()), "sleep", "100000"])
    user = list(_DROP) if root and environment.uid else []
    path = f"{_SOURCES}:{traps.folder / 'modules'}"
    settings = {
        "backend": environment.backend,
        "workers": WORKERS,
        "layers": environment.layers,
        "image": environment.image,
        "secret": traps.secret,
        "secret_file": str(traps.secret_file),
    }
    driver = [_interpreter(user, path), str(Path(__file__).with_name("driver.py")), json.dumps(settings)]
    return subprocess.Popen(
        [*namespaces, "sh", "-c", f'{bystander} & "$@"; exit $?', "sh", *user, *driver],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=traps.folder / f"{traps.secret}-cwd",
        env={**os.environ, "AZRL_ARENA_SECRET": traps.secret, "PYTHONPATH": path},
    )


def _interpreter(user: list[str], path: str) -> str:
    """A Python that `user` may run, this one if possible."""
    for python in (sys.executable, "/usr/bin/python3"):
        command = [*user, python, "-c", _CAN_RUN]
        done = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, cwd="/", check=False)
        if done.returncode == 0:
            return python
    raise Unavailable("an ordinary user can run neither this Python nor /usr/bin/python3 with this checkout")


def _containers() -> set[int]:
    """Process ids of the first process of every container here."""
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return set()
    listing = subprocess.run(["docker", "ps", "-q"], capture_output=True, text=True, check=False)
    if not listing.stdout.split():
        return set()
    inspect = ["docker", "inspect", "--format", "{{.State.Pid}}", *listing.stdout.split()]
    return {
        int(pid) for pid in subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.split()
    }
