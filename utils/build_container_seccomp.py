"""Writes sandbox/container-seccomp.json, the system calls that a process in the sandbox's container may make.

    python utils/build_container_seccomp.py [--check]

An allow-list: what is not named here fails with EPERM. It is for the relay and the fork servers, which need
files, sockets and processes to start; the filter of a child, inside it, is far narrower (sandbox/seccomp.py).
Names that an architecture does not have are skipped by the container's runtime.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "sandbox" / "container-seccomp.json"
ALLOWED = {
    "files and folders, for the interpreter's start": """
        open openat close close_range read pread64 readv write writev lseek stat lstat fstat newfstatat statx
        statfs fstatfs access faccessat faccessat2 readlink readlinkat getdents64 getcwd chdir fcntl ioctl
        dup dup2 dup3 umask""",
    "memory": "brk mmap munmap mremap mprotect madvise",
    "processes and threads": """
        clone fork vfork execve exit exit_group wait4 waitid getpid getppid gettid getpgrp setsid setpgid
        set_tid_address set_robust_list rseq futex sched_yield sched_getaffinity arch_prctl restart_syscall""",
    "signals": "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend sigaltstack kill tgkill",
    "who and how much": """
        getuid geteuid getgid getegid getgroups getresuid getresgid uname sysinfo times
        getrusage getrlimit setrlimit prlimit64""",
    "time and chance": """
        clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time getrandom
        timer_create timer_settime timer_gettime timer_delete""",
    "waiting": "poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait pipe2",
    "sockets, of which only local ones may be made": """
        socketpair sendmsg recvmsg sendto recvfrom shutdown getsockname getsockopt setsockopt""",
    "giving rights up": """
        capget capset prctl seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self setresuid setresgid
        setgroups""",
}
EPERM, ENOSYS, AF_UNIX = 1, 38, 1


def profile() -> dict[str, object]:
    """The profile in the format of Docker and the OCI."""
    names = sorted(name for group in ALLOWED.values() for name in group.split())
    local = [{"index": 0, "value": AF_UNIX, "op": "SCMP_CMP_EQ"}]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [
            {"names": names, "action": "SCMP_ACT_ALLOW"},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": local},
            {
                "names": ["clone3"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": ENOSYS,
            },  # the C library then uses clone
        ],
    }


def main() -> None:
    """Write the profile; with --check only say whether the file is up to date."""
    text = json.dumps(profile(), indent=1) + "\n"
    if sys.argv[1:] == ["--check"]:
        sys.exit(
            0 if TARGET.read_text() == text else f"{TARGET.name} is not what {Path(__file__).name} writes"
        )
    TARGET.write_text(text)


if __name__ == "__main__":
    main()
