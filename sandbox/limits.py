"""What the kernel holds a child to. Linux only; x86-64 and aarch64.

CPU time is held by a POSIX timer that sends SIGKILL: no handler runs, so it holds inside a C loop, with all
signals blocked, and whatever the load of the machine. RLIMIT_CPU stands behind it. A child may open no
descriptor, so it has no files, sockets or pipes beyond the socket of its job; it may start no process, so it
has no threads and no children.

Not covered here: system calls that need no descriptor (signals to processes of the same user, for one), and
the kernel itself.
"""

import ctypes
import os
import resource
import struct

JOB_FD = 3
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CLOCK_MONOTONIC, _CLOCK_PROCESS_CPUTIME = 1, 2
_SIGKILL = 9
_TIMER_CALLS = {"x86_64": (222, 223), "aarch64": (107, 110)}  # timer_create, timer_settime
_STACK = 8 << 20

_libc = ctypes.CDLL(None, use_errno=True)
_raw_fork = ctypes.PyDLL(None).fork  # keeps the interpreter's lock, so the child has it too
_prctl, _syscall = _libc.prctl, _libc.syscall
_machine = os.uname().machine
if _machine not in _TIMER_CALLS:
    raise OSError(f"no POSIX timer numbers for {_machine}")
_create, _settime = (ctypes.c_long(number) for number in _TIMER_CALLS[_machine])
# struct sigevent: value, signo, SIGEV_SIGNAL, padding to 64 bytes
_event = ctypes.create_string_buffer(struct.pack("<QII48x", 0, _SIGKILL, 0), 64)
_timer = ctypes.c_int()
_timer_ref = ctypes.byref(_timer)
_when = ctypes.create_string_buffer(32)
_clocks = ctypes.c_long(_CLOCK_PROCESS_CPUTIME), ctypes.c_long(_CLOCK_MONOTONIC)


def _kill_after(clock, nanoseconds):
    struct.pack_into("<qqqq", _when, 0, 0, 0, nanoseconds // 10**9, nanoseconds % 10**9)
    if _syscall(_create, clock, _event, _timer_ref) or _syscall(
        _settime, _timer, ctypes.c_long(0), _when, None
    ):
        raise OSError(ctypes.get_errno(), "cannot arm a POSIX timer")


def _cap(which, value):
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def confine_server(uid):
    """Set once in the server what every child inherits. With `uid` (root only) groups are dropped too."""
    if _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs refused")
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
    _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _cap(resource.RLIMIT_CORE, 0)
    _cap(resource.RLIMIT_FSIZE, 0)
    _cap(resource.RLIMIT_MEMLOCK, 0)
    _cap(resource.RLIMIT_MSGQUEUE, 0)
    _cap(resource.RLIMIT_STACK, _STACK)


def fork():
    """`os.fork` without Python's hooks, which cost a fifth of it and serve threads; there are none."""
    pid = _raw_fork()
    if pid < 0:
        raise OSError("cannot fork")
    return pid


def confine_child(fd, uid, cpu_ns, wall_ns, memory):
    """In the child: keep only the job's socket, as descriptor 3, and arm every limit. `memory` in bytes."""
    os.dup2(fd, JOB_FD)
    os.closerange(JOB_FD + 1, 64)
    _kill_after(_clocks[0], cpu_ns)
    _kill_after(_clocks[1], wall_ns)
    seconds = cpu_ns // 10**9 + 2
    _cap(resource.RLIMIT_CPU, seconds)
    _cap(resource.RLIMIT_AS, memory)
    _cap(resource.RLIMIT_NPROC, 0)
    _cap(resource.RLIMIT_NOFILE, 0)
    if uid:
        os.setresuid(uid, uid, uid)
    _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)  # last: a change of user clears it
