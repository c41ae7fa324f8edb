"""What `/proc` says about a process, and what in it a hostile program must not have changed.

Read by the harness, from outside the sandbox. A harness that is not root cannot read everything of a process
that is not dumpable: what it cannot read is None in every snapshot, and so never differs.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_STATUS = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp")
_NUMBER = re.compile(r"\d+")
_HERTZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Snapshot:
    """One process at one moment. `cpu_s` in seconds, `rss_mb` in MiB; the other fields are as `/proc` has them."""

    pid: int
    parent: int
    cpu_s: float
    rss_mb: float
    letter: str  # R running, S sleeping, T stopped, t traced, Z dead
    tracer: str
    threads: int
    facts: tuple[tuple[str, str | None], ...]  # what must stay as it is
    scheduling: tuple[str, ...]  # nice, policy, processors: a process may worsen its own, nobody another's
    descriptors: Counter[str]  # how many are open of each kind; empty where that cannot be read
    limits: tuple[tuple[str, float], ...]  # soft limits
    executable_memory: bool | None  # some page is writable and executable, or belongs to asynchronous I/O


def descendants(pid: int) -> set[int]:
    """Process ids of all living descendants of `pid`."""
    found: set[int] = set()
    todo = [pid]
    while todo:
        for task in _listing(f"/proc/{todo.pop()}/task"):
            text = _read(f"{task}/children") or ""
            new = {int(child) for child in text.split()} - found
            found |= new
            todo += new
    return found


def snapshot(pid: int) -> Snapshot | None:
    """The process now, or None if it is gone."""
    here = f"/proc/{pid}"
    stat, status = _read(f"{here}/stat"), _read(f"{here}/status")
    if stat is None or status is None:
        return None
    fields = stat.rpartition(")")[2].split()
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    facts = {name: lines.get(name) for name in _STATUS}
    facts |= {name: _link(f"{here}/{name}") for name in ("exe", "root", "cwd")}
    for space in ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup"):
        facts[f"ns/{space}"] = _link(f"{here}/ns/{space}")
    facts["oom_score_adj"] = _read(f"{here}/oom_score_adj")
    facts["personality"] = _read(f"{here}/personality")
    facts["privileged scheduling"] = str(int(fields[16]) < 0 or int(fields[38]) in (1, 2, 6))
    facts["mounts"] = _mounts(_read(f"{here}/mounts"))
    maps = _read(f"{here}/maps")
    return Snapshot(
        pid=pid,
        parent=int(fields[1]),
        cpu_s=(int(fields[11]) + int(fields[12])) / _HERTZ,
        rss_mb=float((lines.get("VmRSS") or "0").split()[0]) / 1024,
        letter=fields[0],
        tracer=lines.get("TracerPid", "0"),
        threads=int(fields[17]),
        facts=tuple(facts.items()),
        scheduling=(fields[16], fields[38], lines.get("Cpus_allowed", "")),
        descriptors=_descriptors(f"{here}/fd"),
        limits=_limits(_read(f"{here}/limits") or ""),
        executable_memory=None if maps is None else bool(re.search(r" .wx. |\[aio\]", maps)),
    )


def gained(seen: Snapshot, honest: Snapshot) -> list[str]:
    """What a hostile child has that an honest one has not."""
    found = [f"state: {name}" for name in _changed(seen, honest)]
    found += [f"state: descriptor {kind}" for kind in sorted(seen.descriptors - honest.descriptors)]
    before = dict(honest.limits)
    found += [f"state: limit {name}" for name, value in seen.limits if value > before.get(name, value)]
    if seen.executable_memory and not honest.executable_memory:
        found.append("state: executable memory")
    if seen.threads > 1:
        found.append("process: a thread")
    if seen.tracer != "0":
        found.append("state: traced")
    return found


def touched(seen: Snapshot, before: Snapshot) -> list[str]:
    """What was done to a process that stands: a fork server, the executor's host, a bystander."""
    found = [f"server: {name} of a process changed" for name in _changed(seen, before)]
    found += [
        f"server: limit {name} changed"
        for name, value in seen.limits
        if value != dict(before.limits).get(name, value)
    ]
    if seen.scheduling != before.scheduling:
        found.append("server: scheduling of a process changed")
    if seen.letter in "TtZ" and before.letter not in "TtZ":
        found.append(f"server: a process is in state {seen.letter}")
    if seen.tracer != "0":
        found.append("server: a process is traced")
    if seen.threads > before.threads:
        found.append("server: a process has more threads")
    return found


def _changed(seen: Snapshot, before: Snapshot) -> list[str]:
    old = dict(before.facts)
    return [
        name
        for name, value in seen.facts
        if value is not None and old[name] is not None and value != old[name]
    ]


def _mounts(text: str | None) -> str | None:
    """Those at places that attacks mount over: others come and go with what else the machine does."""
    if text is None:
        return None
    places = [line.split()[1] for line in text.splitlines()]
    return " ".join(place for place in places if place in ("/proc", "/tmp") or "/arena-" in place)


def _descriptors(folder: str) -> Counter[str]:
    links = [_link(entry) for entry in _listing(folder)]
    return Counter(_NUMBER.sub("", link) for link in links if link is not None)


def _limits(text: str) -> tuple[tuple[str, float], ...]:
    found = []
    for line in text.splitlines()[1:]:
        name, soft = line[:26].strip(), line[26:47].strip()
        found.append((name, float("inf") if soft == "unlimited" else float(soft)))
    return tuple(found)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return None


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _listing(path: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(path)]
    except OSError:
        return []
