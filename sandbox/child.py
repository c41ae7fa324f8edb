"""The birth of a child: the fork, and all that it does to itself before it reads its job.

CPU time is held by a POSIX timer that sends SIGKILL: no handler runs, so it holds inside a C loop, with all
signals blocked, and whatever the load of the machine. RLIMIT_CPU stands behind it. A second timer holds wall
time, for programs that wait. A child may open no descriptor, so it has no files, sockets or pipes beyond the
socket of its job; it may start no process, so it has no threads and no children (root may, but for the
filter). It dies with its server. The filter comes last: it permits none of this.
"""

import ctypes
import os
import resource
import struct
import sys

import limits
from kernel import number, quick

JOB_FD = 3
_LAST_FD = 64  # a server has no descriptor from here on
_CLOCK_MONOTONIC, _CLOCK_PROCESS_CPUTIME = 1, 2
_SIGKILL = 9
_SECOND = 10**9
_RUSAGE = 144  # bytes of struct rusage on 64-bit Linux
_CPU_SLACK = 2  # seconds from the timer to RLIMIT_CPU, rounded up
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4

_raw_fork = quick.fork  # keeps the interpreter's lock, so the child has it too


def fork():
    """`os.fork` without Python's hooks, which cost a fifth of it and serve threads; there are none."""
    pid = _raw_fork()
    if pid < 0:
        raise OSError("cannot fork")
    return pid


def waiting():
    """Returns wait(pid), which gives the wait status of a child that has ended and its CPU microseconds.

    `os.wait4` imports a module at each call to describe the usage; here four numbers are read from the kernel's.
    """
    call, status, usage = quick.wait4, ctypes.c_int(), ctypes.create_string_buffer(_RUSAGE)
    status_out, times = ctypes.byref(status), struct.Struct("<4q").unpack_from
    no_options = ctypes.c_int(0)

    def wait(pid):
        if call(pid, status_out, no_options, usage) != pid:  # a signal; Python's own call runs handlers
            _, code, used = os.wait4(pid, 0)
            return code, int((used.ru_utime + used.ru_stime) * 1e6)
        user_s, user_us, system_s, system_us = times(usage)
        return status.value, (user_s + system_s) * 1_000_000 + user_us + system_us

    return wait


def confinement(uid, rlimits, install_filter):
    """Returns confine(fd, cpu_ns, wall_ns, memory), for a child of this process to call once, for good: the job's
    socket as JOB_FD and nothing else, that many nanoseconds, that many bytes of address space.

    `uid` other than 0: that user from then on. `rlimits`: no descriptor, no process. `install_filter`: called
    last, or None. One flat function over names bound here: each Python object that a child is the first to
    touch is a page of the server that it must copy, and those are most of what it costs.
    """
    server = os.getpid()
    dup2, closerange, setresuid, getppid = os.dup2, os.closerange, os.setresuid, os.getppid
    syscall, prctl, setrlimit = quick.syscall, quick.prctl, resource.setrlimit
    pack_into = struct.Struct("<qqqq").pack_into
    create, settime = (ctypes.c_long(number(name)) for name in ("timer_create", "timer_settime"))
    cpu_clock, wall_clock = ctypes.c_long(_CLOCK_PROCESS_CPUTIME), ctypes.c_long(_CLOCK_MONOTONIC)
    # struct sigevent: value, signo, SIGEV_SIGNAL, padding to 64 bytes
    event = ctypes.create_string_buffer(struct.pack("<QII48x", 0, _SIGKILL, 0), 64)
    timer, when, zero = ctypes.c_int(), ctypes.create_string_buffer(32), ctypes.c_long(0)
    timer_out = ctypes.byref(timer)
    cpu, space = resource.RLIMIT_CPU, resource.RLIMIT_AS
    processes, descriptors = resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE
    most_cpu, most_space = limits.most(cpu) or sys.maxsize, limits.most(space) or sys.maxsize

    def confine(fd, cpu_ns, wall_ns, memory):
        dup2(fd, JOB_FD)
        closerange(JOB_FD + 1, _LAST_FD)
        pack_into(when, 0, 0, 0, cpu_ns // _SECOND, cpu_ns % _SECOND)
        failed = syscall(create, cpu_clock, event, timer_out) or syscall(settime, timer, zero, when, None)
        pack_into(when, 0, 0, 0, wall_ns // _SECOND, wall_ns % _SECOND)
        failed |= syscall(create, wall_clock, event, timer_out) or syscall(settime, timer, zero, when, None)
        seconds, memory = min(cpu_ns // _SECOND + _CPU_SLACK, most_cpu), min(memory, most_space)
        setrlimit(cpu, (seconds, seconds))
        setrlimit(space, (memory, memory))
        if rlimits:
            setrlimit(processes, (0, 0))
            setrlimit(descriptors, (0, 0))
        if uid:
            setresuid(uid, uid, uid)
            failed |= prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        failed |= prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)  # after a change of user, which undoes it
        if failed or getppid() != server:  # it has ended before it could be followed
            raise OSError("a child cannot be confined")
        if install_filter:
            install_filter()

    return confine
