"""The C library, raw system calls and their numbers: x86-64 and aarch64 Linux, no compiler needed.

Numbers are from the kernel's own tables (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/
unistd.h); None where an architecture has no such call.
"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
quick = ctypes.PyDLL(None)  # no reason for a failure and no release of the interpreter's lock: for each child
MACHINE = os.uname().machine
MACHINES = ("x86_64", "aarch64")

# name: (x86-64, aarch64)
NUMBERS = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "brk": (12, 214),
    "clock_getres": (229, 114),
    "clock_gettime": (228, 113),
    "close": (3, 57),
    "delete_module": (176, 106),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "finit_module": (313, 273),
    "futex": (202, 98),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "getrandom": (318, 278),
    "gettid": (186, 178),
    "gettimeofday": (96, 169),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446),
    "madvise": (28, 233),
    "mmap": (9, 222),
    "mount": (165, 40),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "read": (0, 63),
    "request_key": (249, 218),
    "restart_syscall": (219, 128),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "seccomp": (317, 277),
    "setns": (308, 268),
    "sigaltstack": (131, 132),
    "time": (201, None),
    "timer_create": (222, 107),
    "timer_settime": (223, 110),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "write": (1, 64),
}


def number(name, machine=MACHINE):
    """Number of a system call on `machine`, or None. Raises OSError for a machine that has no table here."""
    if machine not in MACHINES or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise OSError(f"the sandbox knows 64-bit {' and '.join(MACHINES)}, not {machine}")
    return NUMBERS[name][MACHINES.index(machine)]


def syscall(name, *arguments):
    """Make a system call with ctypes arguments. Raises OSError with the kernel's reason."""
    result = libc.syscall(ctypes.c_long(number(name)), *arguments)
    if result < 0:
        raise failure(name)
    return result


def failure(what):
    """The OSError for the C library call that has just failed."""
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")
