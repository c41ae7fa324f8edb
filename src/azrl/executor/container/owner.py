"""Whose a container is. A trainer that is killed cannot remove its own; the next one to start does."""

from __future__ import annotations

import os
from pathlib import Path

LABEL = "azrl.owner"


def this_process() -> str:
    """Machine's boot, pid namespace, pid and start time: what no other process ever has."""
    return f"{_world()} pid {os.getpid()} {_started(os.getpid())}"


def is_gone(owner: str) -> bool:
    """Whether an owner was a process of this boot and pid namespace, and has ended. Of others nothing is known."""
    world, _, process = owner.partition(" pid ")
    pid, _, started = process.partition(" ")
    return world == _world() and pid.isdigit() and _started(int(pid)) != started


def _world() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _started(pid: int) -> str:
    """Start time in clock ticks since boot; empty if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[19]
