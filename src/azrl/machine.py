"""What this machine has: plain facts, each found by asking the machine. Imports torch only where a GPU is."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30
_LANDLOCK_CREATE_RULESET = 444  # the same number on every architecture
_LANDLOCK_VERSION = 1
_TRY_NAMESPACE = "import ctypes, sys; sys.exit(ctypes.CDLL(None, use_errno=True).unshare(0x10000000) != 0)"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU that torch can use; `memory` in bytes."""

    name: str
    memory: int


def cores() -> int:
    """Cores that this process may use: its affinity, cut by a control group's quota; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        allowed = min(allowed, max(1, int(quota) // int(period)))
    return allowed


def cpu() -> tuple[str, frozenset[str]]:
    """The processor's name and its feature flags (`avx512_bf16`, ...); no flags where there is no /proc."""
    name, flags = "unknown processor", frozenset[str]()
    for line in _read("/proc/cpuinfo").splitlines():
        label, _, value = line.partition(":")
        if label.strip() == "model name":
            name = value.strip()
        elif label.strip() in ("flags", "Features"):
            flags = frozenset(value.split())
            break
    return name, flags


def memory() -> int:
    """Bytes of memory, cut by a control group's limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def disk_free(folder: str | Path) -> int:
    """Free bytes where `folder` is or would be made."""
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def gpus() -> tuple[tuple[Gpu, ...], str]:
    """The GPUs that torch can use, or why there is none. Without NVIDIA's driver, torch stays unimported."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return (), "no NVIDIA driver"
    import torch

    if torch.version.cuda is None:
        return (), f"this torch ({torch.__version__}) was built without CUDA"
    if not torch.cuda.is_available():
        return (), "the NVIDIA driver is there, but torch finds no GPU"
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return tuple(Gpu(gpu.name, gpu.total_memory) for gpu in found), ""


def docker() -> str:
    """How the Docker daemon answers: `reachable`, or why not."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    scheme, _, address = host.partition("://")
    try:
        if scheme == "unix":
            channel = socket.socket(socket.AF_UNIX)
        elif scheme == "tcp":
            channel = socket.socket()
        else:
            return f"unknown (DOCKER_HOST={host})"
        with channel:
            channel.settimeout(2.0)
            name, _, port = address.partition(":")
            channel.connect(address if scheme == "unix" else (name, int(port or 2375)))
            channel.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            answer = channel.recv(4096)
    except FileNotFoundError:
        return f"no daemon ({address} is not there)"
    except (OSError, ValueError) as error:
        return f"no daemon ({address}: {error})"
    return "reachable" if b" 200 " in answer.partition(b"\r\n")[0] else f"an unexpected answer at {address}"


def seccomp_filters() -> bool:
    """Whether the kernel takes seccomp filters."""
    return "kill_process" in _read("/proc/sys/kernel/seccomp/actions_avail").split()


def landlock_abi() -> int:
    """Landlock's ABI version; 0 where the kernel has none or keeps it off."""
    if sys.platform != "linux":
        return 0
    call = ctypes.CDLL(None).syscall
    call.restype = ctypes.c_long
    version = call(
        ctypes.c_long(_LANDLOCK_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint(_LANDLOCK_VERSION)
    )
    return max(0, version)


def user_namespaces() -> bool:
    """Whether this user may make a user namespace: tried in a short-lived process."""
    if sys.platform != "linux":
        return False
    return subprocess.run([sys.executable, "-I", "-S", "-c", _TRY_NAMESPACE], check=False).returncode == 0


def _read(path: str) -> str:
    """A kernel file's text; empty where it is missing or closed to us: then the feature is not there."""
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""
