"""What the kernel holds a child to. Linux only; x86-64 and aarch64.

CPU time is held by a POSIX timer that sends SIGKILL: no handler runs, so it holds inside a C loop, with all
signals blocked, and whatever the load of the machine. RLIMIT_CPU stands behind it. A second timer holds wall
time, for programs that wait. A child may open no descriptor, so it has no files, sockets or pipes beyond the
socket of its job; it may start no process, so it has no threads and no children (unless it is root).
"""

import ctypes
import os
import resource
import struct

from kernel import libc, number

JOB_FD = 3
LAST_FD = 64  # a server has no descriptor from here on
_CLOCK_MONOTONIC, _CLOCK_PROCESS_CPUTIME = 1, 2
_SIGKILL = 9
_STACK = 8 << 20
_CPU_SLACK = 2  # seconds from the timer to RLIMIT_CPU, rounded up
_INHERITED = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_MEMLOCK, 0),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_STACK, _STACK),
)

_raw_fork = ctypes.PyDLL(None).fork  # keeps the interpreter's lock, so the child has it too
_syscall = libc.syscall
_create, _settime = (ctypes.c_long(number(name)) for name in ("timer_create", "timer_settime"))
# struct sigevent: value, signo, SIGEV_SIGNAL, padding to 64 bytes
_event = ctypes.create_string_buffer(struct.pack("<QII48x", 0, _SIGKILL, 0), 64)
_timer = ctypes.c_int()
_timer_ref = ctypes.byref(_timer)
_when = ctypes.create_string_buffer(32)
_none = ctypes.c_long(0)
_clocks = ctypes.c_long(_CLOCK_PROCESS_CPUTIME), ctypes.c_long(_CLOCK_MONOTONIC)


def fork():
    """`os.fork` without Python's hooks, which cost a fifth of it and serve threads; there are none."""
    pid = _raw_fork()
    if pid < 0:
        raise OSError("cannot fork")
    return pid


def confine_server():
    """The limits that a server can bear itself and every child inherits."""
    for which, value in _INHERITED:
        _cap(which, value)
    return "no file, no process, no core, no locked memory"


def keep_only(fd):
    """In the child: the job's socket as descriptor 3, over the server's own, and the standard streams."""
    os.dup2(fd, JOB_FD)
    os.closerange(JOB_FD + 1, LAST_FD)


def hold(cpu_ns, wall_ns, memory):
    """In the child: from here on it has this much time, in nanoseconds, and address space, in bytes."""
    _kill_after(_clocks[0], cpu_ns)
    _kill_after(_clocks[1], wall_ns)
    _cap(resource.RLIMIT_CPU, cpu_ns // 10**9 + _CPU_SLACK)
    _cap(resource.RLIMIT_AS, memory)


def nothing_more():
    """In the child: no further descriptor, no process, no thread."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def _kill_after(clock, nanoseconds):
    struct.pack_into("<qqqq", _when, 0, 0, 0, nanoseconds // 10**9, nanoseconds % 10**9)
    if _syscall(_create, clock, _event, _timer_ref) or _syscall(_settime, _timer, _none, _when, None):
        raise OSError(ctypes.get_errno(), "cannot arm a POSIX timer")


def _cap(which, value):
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))
