"""The system calls that a child may make: memory, its own signals, clocks, and the job's one socket.

An allow-list. What is not on it fails with EPERM, an ordinary Python exception and the same in every run;
what no Python program asks for by accident kills at once, as does a call by another architecture's numbers.
No call on the list takes a path, makes a descriptor or a process, or names another process. Arguments are
checked where a permitted call could do more: no memory becomes executable, reading is from the job's socket
alone, writing to it and to /dev/null, futexes without the priority-inheritance code, memory advice that gives
memory back and none that shares it, clocks that name no other process. Only the low half of an argument is
looked at where the kernel uses no more.

The filter is installed as the last thing before a child reads its job. Kernel: seccomp(2).
"""

import ctypes
import errno
import os
import struct

from bpf import AND, ANY_BIT, AT_LEAST, EQUAL, LOAD, RETURN, assemble
from kernel import MACHINE, number, quick, syscall

ALLOWED = (
    "brk", "munmap", "mremap",
    "rt_sigreturn", "rt_sigprocmask", "rt_sigaction", "sigaltstack", "restart_syscall",
    "gettimeofday", "time", "getrandom", "getpid", "gettid",
    "close", "exit", "exit_group",
)  # fmt: skip
FATAL = (
    "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd",
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "add_key", "request_key", "keyctl",
    "unshare", "setns", "mount", "umount2", "pivot_root", "open_by_handle_at",
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module",
)  # fmt: skip

_ALLOW, _KILL, _EPERM = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, (16, 24, 32)  # offsets in struct seccomp_data
_PROT_EXEC = 4
_FUTEX_FLAGS = 128 | 256  # PRIVATE, CLOCK_REALTIME
_FUTEX_PLAIN = (0, 1, 9, 10)  # WAIT, WAKE, WAIT_BITSET, WAKE_BITSET
_GIVE_BACK = (4, 8)  # MADV_DONTNEED, MADV_FREE
_DYNAMIC_CLOCKS = 16  # from here on a clock id names a process or a descriptor
_SET_FILTER, _SPEC_ALLOW = 1, 4

_NOT_EXECUTABLE = ((LOAD, _ARGUMENTS[2]), (ANY_BIT, _PROT_EXEC, "refuse", "allow"))
_FIXED_CLOCK = ((LOAD, _ARGUMENTS[0]), (AT_LEAST, _DYNAMIC_CLOCKS, "refuse", "allow"))
CONDITIONS = {
    "mmap": _NOT_EXECUTABLE,
    "mprotect": _NOT_EXECUTABLE,
    "madvise": (
        (LOAD, _ARGUMENTS[2]),
        *((EQUAL, advice, "allow", None) for advice in _GIVE_BACK),
        (RETURN, _EPERM),
    ),
    "read": ((LOAD, _ARGUMENTS[0]), (EQUAL, 3, "allow", "refuse")),
    "write": ((LOAD, _ARGUMENTS[0]), (EQUAL, 0, "refuse", None), (AT_LEAST, 4, "refuse", "allow")),
    "clock_gettime": _FIXED_CLOCK,
    "clock_getres": _FIXED_CLOCK,
    "futex": (
        (LOAD, _ARGUMENTS[1]),
        (AND, 0xFFFFFFFF ^ _FUTEX_FLAGS),
        *((EQUAL, operation, "allow", None) for operation in _FUTEX_PLAIN),
        (RETURN, _EPERM),
    ),
}


def program(machine):
    """The filter for `machine` as BPF bytes."""
    places = (
        {name: name for name in CONDITIONS} | dict.fromkeys(ALLOWED, "allow") | dict.fromkeys(FATAL, "kill")
    )
    numbered = sorted((n, to) for name, to in places.items() if (n := number(name, machine)) is not None)
    lines = [(LOAD, _ARCHITECTURE), (EQUAL, _ARCHITECTURES[machine], None, "kill"), (LOAD, _NUMBER)]
    if machine == "x86_64":
        lines.append((AT_LEAST, _X32, "kill", None))
    lines += _search(numbered)
    for name, check in CONDITIONS.items():
        lines += [name, *check]
    return assemble([*lines, "refuse", (RETURN, _EPERM), "kill", (RETURN, _KILL), "allow", (RETURN, _ALLOW)])


def _search(numbered):
    """Find the loaded number by halving: the kernel runs a filter for each number when it is installed."""
    if len(numbered) <= 2:
        return [*((EQUAL, n, to, None) for n, to in numbered), (RETURN, _EPERM)]
    middle = len(numbered) // 2
    first = numbered[middle][0]
    return [
        (AT_LEAST, first, f"from {first}", None),
        *_search(numbered[:middle]),
        f"from {first}",
        *_search(numbered[middle:]),
    ]


class Filter:
    """The filter of this machine, ready before the fork. no_new_privs must be set where it is installed.

    Speculation controls stay as they are: a child has no secrets, and turning them on costs half the speed of
    Python on kernels before 5.16.
    """

    def __init__(self):
        code = program(MACHINE)
        text = ctypes.create_string_buffer(code, len(code))
        head = struct.pack("<HxxxxxxQ", len(code) // 8, ctypes.addressof(text))
        arguments = [
            ctypes.c_long(_SET_FILTER),
            ctypes.c_long(_SPEC_ALLOW),
            ctypes.create_string_buffer(head, 16),
        ]
        numbered, call = ctypes.c_long(number("seccomp")), quick.syscall
        self._arguments = arguments

        def install(kept=text):  # the kernel is given its address, which keeps nothing alive
            if call(numbered, *arguments):
                raise OSError("the filter was refused")

        self.install = install
        """Confine this process for good; one call. Raises OSError."""

    def prove(self, fork):
        """Install it in a forked child and see that it refuses; returns how much is left. Raises OSError."""
        pid = fork()
        if pid == 0:
            code = errno.ENOTSUP
            try:
                syscall("seccomp", *self._arguments)
                code = 0 if os.getppid() == -1 else errno.ENOTSUP
            except OSError as error:
                code = error.errno
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code:
            raise OSError(code, f"seccomp: {os.strerror(code) if code > 0 else f'killed by signal {-code}'}")
        return f"{len(CONDITIONS) + len(ALLOWED)} system calls"
