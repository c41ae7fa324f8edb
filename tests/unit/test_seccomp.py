"""The system-call filter as the kernel reads it: run here for both architectures on a small BPF machine."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SANDBOX = Path(__file__).resolve().parents[2] / "sandbox"
ALLOW, EPERM, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
MACHINES = tuple(AUDIT)
# (call, first three arguments): what it must come to
FATES = {
    ("read", (3, 0, 0)): ALLOW,
    ("read", (0, 0, 0)): EPERM,
    ("read", (4, 0, 0)): EPERM,
    ("read", (1 << 32 | 3, 0, 0)): ALLOW,  # the kernel takes 32 bits of it
    ("write", (0, 0, 0)): EPERM,
    ("write", (1, 0, 0)): ALLOW,
    ("write", (3, 0, 0)): ALLOW,
    ("write", (4, 0, 0)): EPERM,
    ("write", (0xFFFFFFFF, 0, 0)): EPERM,
    ("mmap", (0, 4096, 3)): ALLOW,
    ("mmap", (0, 4096, 7)): EPERM,
    ("mprotect", (0, 4096, 1)): ALLOW,
    ("mprotect", (0, 4096, 5)): EPERM,
    ("madvise", (0, 4096, 4)): ALLOW,
    ("madvise", (0, 4096, 12)): EPERM,  # merge equal pages of other processes: a side channel
    ("futex", (0, 128 | 0, 0)): ALLOW,  # wait, wake and their bitset forms, private or not
    ("futex", (0, 1, 0)): ALLOW,
    ("futex", (0, 128 | 256 | 9, 0)): ALLOW,
    ("futex", (0, 10, 0)): ALLOW,
    ("futex", (0, 6, 0)): EPERM,  # lock with priority inheritance
    ("futex", (0, 128 | 11, 0)): EPERM,
    ("futex", (0, 128 | 4, 0)): EPERM,
    ("futex", (0, 512, 0)): EPERM,
    ("clock_gettime", (0, 0, 0)): ALLOW,
    ("clock_gettime", (3, 0, 0)): ALLOW,
    ("clock_gettime", (0xFFFFFFFA, 0, 0)): EPERM,  # the clock of another process
    ("clock_getres", (0xFFFFFFFA, 0, 0)): EPERM,
    ("exit_group", (0, 0, 0)): ALLOW,
    ("getppid", (0, 0, 0)): EPERM,
    ("timer_settime", (0, 0, 0)): EPERM,
    ("seccomp", (0, 0, 0)): EPERM,
    ("ptrace", (0, 0, 0)): KILL,
    ("io_uring_setup", (0, 0, 0)): KILL,
    ("unshare", (0, 0, 0)): KILL,
}
# What a Python program reaches for, and must not get, whatever the arguments.
REFUSED = (
    "openat", "openat2", "statx", "newfstatat", "faccessat", "readlinkat", "getdents64", "chdir", "chroot", "mkdirat",
    "unlinkat", "socket", "socketpair", "connect", "bind", "sendto", "sendmsg", "recvmsg", "pipe2", "dup", "dup3",
    "fcntl", "ioctl", "memfd_create", "eventfd2", "epoll_create1", "inotify_init1", "clone", "clone3", "execve",
    "execveat", "kill", "tkill", "tgkill", "rt_sigqueueinfo", "pidfd_open", "pidfd_send_signal", "wait4", "prctl",
    "prlimit64", "setrlimit", "setuid", "setresuid", "capset", "timer_delete", "setitimer", "nanosleep",
    "clock_nanosleep", "clock_settime", "shmget", "msgget", "semget", "mq_open", "sched_setaffinity", "personality",
    "splice", "vmsplice", "process_madvise", "mlock", "mlockall", "pkey_mprotect", "memfd_secret", "reboot",
)  # fmt: skip


def verdict(code: bytes, number: int, machine: str, arguments: tuple[int, ...] = (0, 0, 0)) -> int:
    """What the kernel would decide: classic BPF over struct seccomp_data."""
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, AUDIT[machine], 0, *arguments, 0, 0, 0)
    at, word = 0, 0
    while True:
        operation, yes, no, operand = struct.unpack_from("<HBBI", code, 8 * at)
        at += 1
        if operation == 0x06:
            return operand
        if operation == 0x20:
            (word,) = struct.unpack_from("<I", data, operand)
        elif operation == 0x54:
            word &= operand
        else:
            true = {0x15: word == operand, 0x35: word >= operand, 0x45: bool(word & operand)}[operation]
            at += yes if true else no


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("call", "fate"), FATES.items())
def test_each_call_meets_its_fate(
    guest: dict[str, ModuleType], machine: str, call: tuple[str, tuple[int, ...]], fate: int
) -> None:
    name, arguments = call
    code = guest["seccomp"].program(machine)
    assert verdict(code, guest["kernel"].number(name, machine), machine, arguments) == fate


@pytest.mark.parametrize("machine", MACHINES)
def test_only_named_calls_are_ever_allowed(guest: dict[str, ModuleType], machine: str) -> None:
    code = guest["seccomp"].program(machine)
    named = {*guest["seccomp"].ALLOWED, *guest["seccomp"].CONDITIONS}
    numbers = {guest["kernel"].number(name, machine) for name in named} - {None}
    tries = [(0, 0, 0), (3, 0, 0), (3, 9, 3), (0, 0, 4)]
    allowed = {n for n in range(2000) for arguments in tries if verdict(code, n, machine, arguments) == ALLOW}
    assert allowed == numbers
    assert len(named) <= 25


@pytest.mark.parametrize("machine", MACHINES)
def test_other_architectures_and_x32_are_killed(guest: dict[str, ModuleType], machine: str) -> None:
    code = guest["seccomp"].program(machine)
    other = next(name for name in MACHINES if name != machine)
    assert all(verdict(code, n, other) == KILL for n in range(500))
    beyond = {verdict(code, 0x40000000 | n, machine, (3, 0, 0)) for n in range(600)}
    assert beyond == {KILL if machine == "x86_64" else EPERM}


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(0, 2**64 - 1)] * 3), st.sampled_from(MACHINES))
def test_no_arguments_make_memory_executable_or_reach_other_descriptors(
    guest: dict[str, ModuleType], number: int, arguments: tuple[int, int, int], machine: str
) -> None:
    code, numbered = guest["seccomp"].program(machine), guest["kernel"].number
    for name in ("mmap", "mprotect"):
        assert (verdict(code, numbered(name, machine), machine, arguments) == ALLOW) == (not arguments[2] & 4)
    low = arguments[0] & 0xFFFFFFFF
    assert (verdict(code, numbered("read", machine), machine, arguments) == ALLOW) == (low == 3)
    assert (verdict(code, numbered("write", machine), machine, arguments) == ALLOW) == (low in (1, 2, 3))
    assert verdict(code, number, machine, arguments) in (ALLOW, EPERM, KILL)


HEADERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), r"#define __NR_(\w+)\s+(\d+)"),
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), r"#define __NR(?:3264)?_(\w+)\s+(\d+)"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_the_kernels(guest: dict[str, ModuleType], machine: str) -> None:
    path, pattern = HEADERS[machine]
    if not path.exists():
        pytest.skip(f"no kernel headers here ({path})")
    real = {name: int(number) for name, number in re.findall(pattern, path.read_text())}
    numbers, code = guest["kernel"].NUMBERS, guest["seccomp"].program(machine)
    for name in numbers:
        assert guest["kernel"].number(name, machine) == real.get(name), name
    for name in REFUSED:
        if name in real:
            fates = {verdict(code, real[name], machine, (fd, 0, 0)) for fd in (0, 3)}
            assert ALLOW not in fates, name


def test_a_jump_too_far_or_back_is_an_error(guest: dict[str, ModuleType]) -> None:
    bpf = guest["bpf"]
    far = [(bpf.EQUAL, 1, "end", None), *[(bpf.LOAD, 0)] * 256, "end", (bpf.RETURN, 0)]
    for lines in (far, ["start", (bpf.LOAD, 0), (bpf.EQUAL, 1, "start", None), (bpf.RETURN, 0)]):
        with pytest.raises(ValueError, match="too far or back"):
            bpf.assemble(lines)


def test_a_machine_without_a_table_is_an_error(guest: dict[str, ModuleType]) -> None:
    with pytest.raises(OSError, match="riscv64"):
        guest["kernel"].number("read", "riscv64")
