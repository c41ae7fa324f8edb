"""Runs attacks one by one against a real executor and collects the evidence of success from outside.

The executor's host is a process of its own, in its own pid and IPC namespaces so that a signal to everyone
reaches nobody else. Beside each attack runs an honest job that holds a secret; after it honest jobs must be
right on every server, and the processes that stand must be what they were.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import Any

from attacks.model import Attack

from arena import observe, verdict
from arena.environments import NOBODY, WORKERS, Environment, Unavailable
from arena.host import REPLY_SECONDS, Host
from arena.traps import Traps

_HONEST = (
    "import json, math, re\ndef f(s, xs):\n    table = {}\n    for i, x in enumerate(sorted(xs, reverse=True)):\n"
    "        table.setdefault(x % 3, []).append(i + 7)\n    total = sum(range(20000))\n"
    "    return [len(s), table, json.dumps([None, True, 1.5]), re.sub('a+', 'b', 'caat'), round(math.sqrt(2), 6),\n"
    "            total, repr({'é': (1,)}), None is None, True + 1, max(map(str, xs)), callable(len)]\n"
)
_RIGHT = (
    "[{length}, {{0: [7, 8, 10], 1: [9, 11]}}, '[null, true, 1.5]', 'cbt', 1.414214, 199990000, "
    "\"{{'é': (1,)}}\", True, 2, '9', True]"
)
_SETTLE_SECONDS = 1.0
_TRIES = 20  # honest jobs until the child of every fork server has been seen
_SAMPLE_SECONDS = 0.03
_SET_UP_SECONDS = 0.02  # of CPU time; a child that has had so much is confined


@dataclass(frozen=True)
class Outcome:
    """What one attack came to. `evidence` is empty unless it succeeded; `seconds` is the wall time it took."""

    attack: Attack
    evidence: tuple[str, ...]
    status: str
    error: str
    seconds: float


class Arena:
    """An environment with its traps. A context manager; raises Unavailable on entry."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._host: Host | None = None

    def __enter__(self) -> Arena:
        if sys.platform != "linux":
            raise Unavailable("the arena reads /proc, so it needs Linux")
        if os.geteuid() != 0 and self.environment.uid != NOBODY:
            raise Unavailable("this needs root")
        self._traps = Traps(NOBODY if os.geteuid() == 0 else os.geteuid())
        try:
            self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()
        self._traps.close()

    def run(self, attack: Attack) -> Outcome:
        """Run one attack, then honest jobs, and look at everything that it could have touched."""
        if attack.native and platform.machine() != "x86_64":
            return Outcome(attack, (), "skipped", "its system calls are those of x86-64", 0.0)
        before, start = self._standing, time.monotonic()
        seen: list[str] = []
        limits = {"cpu_s": attack.cpu_s, "wall_s": attack.wall_s, "memory_mb": attack.memory_mb}
        job = {"program": self._fill(attack.program), "inputs": [self._fill(i) for i in attack.inputs]}
        answer = self._ask([{**job, "limits": limits}, self._honest()], seen, attack.memory_mb)
        if answer is None:
            seen.append("server: the executor's host is gone or mute")
            self._restart()
            return Outcome(attack, tuple(seen), "lost", "", time.monotonic() - start)
        result, beside = answer["results"]
        seen += verdict.of(attack, result, answer["seconds"])
        seen += self._exposed(result)
        seen += self._right(beside, "beside")
        after = self._ask([self._honest() for _ in range(WORKERS)], [], None)
        if after is None:
            seen.append("honest: no answer after the attack")
        else:
            for honest in after["results"]:
                seen += self._right(honest, "after")
        if attack.follow and after is not None:
            seen += self._followed(attack, limits)
        seen += self._left(before)
        if any(text.startswith(("server", "process", "honest")) for text in seen):
            self._restart()
        return Outcome(attack, tuple(dict.fromkeys(seen)), result[0], result[2], answer["seconds"])

    def measure(self) -> dict[str, float]:
        """Descriptors, resident MiB and processes of the executor and its host, now."""
        answer = self._ask([self._honest() for _ in range(WORKERS)], [], None)
        assert answer is not None, "the executor's host does not answer"
        now = [shot for shot in map(observe.snapshot, self._running().members()) if shot is not None]
        return {
            "descriptors": sum(shot.descriptors.total() for shot in now),
            "memory_mb": round(sum(shot.rss_mb for shot in now), 2),
            "processes": len(now),
        }

    def _fill(self, text: str) -> str:
        for name, value in self._traps.places().items():
            text = text.replace(f"@{name}@", value)
        return text

    def _honest(self) -> dict[str, Any]:
        secret = f"{self._traps.secret}-job"
        limits = {"cpu_s": 5.0, "wall_s": 30.0, "memory_mb": 256}
        return {"program": _HONEST, "inputs": [f"'{secret}', [3, 1, 4, 9, 6]"], "limits": limits}

    def _right(self, result: list[Any], when: str) -> list[str]:
        expected = _RIGHT.format(length=len(self._traps.secret) + len("-job"))
        if result[0] == "ok" and result[1] == [expected]:
            return []
        return [
            f"honest: {when} the attack an honest job gave {result[0]} {result[2]} {str(result[1])[:200]}"
        ]

    def _exposed(self, result: list[Any]) -> list[str]:
        text = json.dumps(result, ensure_ascii=False)
        return [f"secret: {secret[:6]}... came out" for secret in self._traps.secrets if secret in text]

    def _followed(self, attack: Attack, limits: dict[str, Any]) -> list[str]:
        jobs = [{"program": self._fill(attack.follow), "inputs": [""], "limits": limits}] * WORKERS
        answer = self._ask(jobs, [], None)
        carried = answer is not None and self._traps.token in json.dumps(answer["results"])
        return ["carried: a later job read what the attack had left"] if carried else []

    def _left(self, before: dict[int, observe.Snapshot]) -> list[str]:
        """Processes, changes to those that stand, files, contacts and IPC objects."""
        found: list[str] = []
        deadline = time.monotonic() + _SETTLE_SECONDS
        while (extra := self._running().members() - set(before)) and time.monotonic() < deadline:
            time.sleep(0.02)
        if extra:
            found.append(f"process: {len(extra)} left behind")
        now = {pid: observe.snapshot(pid) for pid in before}
        for pid, old in before.items():
            shot = now[pid]
            found += ["server: a process that stands is gone"] if shot is None else observe.touched(shot, old)
        found += self._traps.evidence([f"/proc/{pid}/root" for pid in before])
        objects = self._ipc_objects()
        if objects > self._ipc:
            found.append(f"left: {objects - self._ipc} IPC objects")
            self._ipc = objects
        return found

    def _ipc_objects(self) -> int:
        """System V objects in the IPC namespaces of the processes that stand."""
        spaces = {dict(shot.facts)["ns/ipc"]: shot.pid for shot in self._standing.values()}
        total = 0
        for pid in spaces.values():
            listing = subprocess.run(
                [
                    "nsenter",
                    f"--ipc=/proc/{pid}/ns/ipc",
                    "cat",
                    *(f"/proc/sysvipc/{kind}" for kind in ("shm", "msg", "sem")),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            total += listing.stdout.count("\n")
        return total

    def _open(self) -> None:
        """Start the host; learn what stands when nothing runs, and what an honest child looks like."""
        self._host = Host(self.environment, self._traps)
        self.description = self._host.description
        self._ready = False
        self._honest_children: dict[int, observe.Snapshot] = {}  # by the fork server that started them
        self._standing: dict[int, observe.Snapshot] = {}
        for _ in range(3):
            assert self._ask([self._honest() for _ in range(2 * WORKERS)], [], None) is not None
        shots = {pid: observe.snapshot(pid) for pid in self._running().members()}
        self._standing = {pid: shot for pid, shot in shots.items() if shot is not None}
        spin = {"program": "def f():\n    return sum(range(15 * 10**6))", "inputs": [""]}
        limits = {"cpu_s": 1.0, "wall_s": 10.0, "memory_mb": 256}
        for _ in range(_TRIES):
            assert self._ask([{**spin, "limits": limits}] * WORKERS, [], None) is not None
            if len(self._honest_children) == WORKERS:
                break
        if len(self._honest_children) < WORKERS:
            raise Unavailable("the children of the fork servers were not seen while jobs ran")
        self._ready = True
        self._ipc = self._ipc_objects()

    def _running(self) -> Host:
        assert self._host is not None, "the arena is not open"
        return self._host

    def _restart(self) -> None:
        self._stop()
        self._traps.evidence([])
        self._open()

    def _stop(self) -> None:
        if self._host is not None:
            self._host.stop()
            self._host = None

    def _ask(
        self, jobs: list[dict[str, Any]], seen: list[str], memory_mb: float | None
    ) -> dict[str, Any] | None:
        """Have jobs run; meanwhile look at the children. None if no answer comes."""
        host = self._running()
        if not host.send(jobs):
            return None
        deadline = time.monotonic() + REPLY_SECONDS
        suspects: dict[int, list[str]] = {}
        while time.monotonic() < deadline:
            answer = host.line(_SAMPLE_SECONDS)
            if answer is not None:
                return answer or None
            if self._standing:
                self._look(suspects, seen, memory_mb)
        return None

    def _look(self, suspects: dict[int, list[str]], seen: list[str], memory_mb: float | None) -> None:
        """One look at all processes. What a child has counts once it has been seen twice, after its set-up."""
        children = 0
        for pid in self._running().members():
            shot = observe.snapshot(pid)
            if shot is None:
                continue
            if pid in self._standing:
                seen += observe.touched(replace(shot, limits=self._standing[pid].limits), self._standing[pid])
                continue
            children += 1
            if shot.letter == "Z" or shot.cpu_s < _SET_UP_SECONDS:
                continue
            if not self._ready:
                self._honest_children[shot.parent] = shot
                continue
            if shot.parent not in self._honest_children:
                seen.append("process: a process that no fork server started")
                continue
            found = observe.gained(shot, self._honest_children[shot.parent])
            if memory_mb is not None and shot.rss_mb > memory_mb + 32:
                found.append(f"limit: {shot.rss_mb:.0f} MiB in use")
            seen += [text for text in found if text in suspects.get(pid, [])]
            suspects[pid] = found
        if children > WORKERS:
            seen.append("process: more children than jobs")
