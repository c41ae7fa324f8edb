"""Signals to, and hands inside, the fork server, the executor's host, other jobs and bystanders."""

from __future__ import annotations

from attacks.model import Attack, native, plain

C = "signals and ptrace"
_OTHERS = "others = [pid for pid in range(1, 400) if pid != os.getpid()]\n"
_EACH = "import os\n" + _OTHERS + "for pid in [os.getppid(), *others]:\n    {}\n"
_TRY = "try:\n        {}\n    except OSError:\n        pass"

ATTACKS: tuple[Attack, ...] = (
    *(
        plain(f"signal {number} to the parent", C, f"import os\nos.kill(os.getppid(), {number})", "server")
        for number in (1, 2, 3, 9, 10, 15, 19, 20, 24)
    ),
    plain("a storm of SIGALRM to the parent", C, "import os\nwhile True:\n    os.kill(os.getppid(), 14)", "server"),
    plain("SIGKILL to everyone", C, "import os\nos.kill(-1, 9)", "server"),
    plain("SIGSTOP to everyone", C, "import os\nos.kill(-1, 19)", "server"),
    plain("SIGKILL to the process group", C, "import os\nos.killpg(0, 9)", "server"),
    plain("SIGKILL to every pid", C, _EACH.format(_TRY.format("os.kill(pid, 9)")), "server"),
    plain("SIGSTOP to every pid", C, _EACH.format(_TRY.format("os.kill(pid, 19)")), "server"),
    native("tgkill every pid", C, _EACH.format("syscall(234, pid, pid, 9)"), "server"),
    native("rt_sigqueueinfo", C, "info = memory(size=128)\n" + _EACH.format("syscall(129, pid, 9, info)"), "server"),
    native("pidfd_send_signal", C, _EACH.format("syscall(424, syscall(434, pid, 0), 9, None, 0)"), "server"),
    native("F_SETOWN and SIGIO from the job's socket", C,
           "import os\nsyscall(72, 3, 10, 9)\nsyscall(72, 3, 8, os.getppid())\nsyscall(72, 3, 4, 0x2000)\nos.write(3, b'x')\nhold(True)", "server"),
    native("a timer that signals another thread group", C,
           "import os, struct\nevent = memory(struct.pack('<QIIi44x', 0, 9, 4, os.getppid()))\nid = memory(size=4)\n"
           "hold(syscall(222, 1, event, id) == 0)", "server"),
    native("ptrace the parent", C, "import os\nhold(syscall(101, 0x4206, os.getppid(), 0, 0) == 0)", "server"),
    native("ptrace every pid", C, _EACH.format("if syscall(101, 16, pid, 0, 0) == 0:\n        hold(True)"), "server"),
    native("ask to be traced", C, "hold(syscall(101, 0, 0, 0, 0) == 0)", "state"),
    native("process_vm_writev over the parent's None", C,
           "import os\nblock = memory(bytes(64))\nbase = call('dlsym', 0, b'_Py_NoneStruct')\n"
           "ours = memory(call('memcpy', block, block, 0).to_bytes(8, 'little') + (16).to_bytes(8, 'little'))\n"
           "theirs = memory(base.to_bytes(8, 'little') + (16).to_bytes(8, 'little'))\n"
           "syscall(311, os.getppid(), ours, 1, theirs, 1, 0)", "server"),
    native("prlimit of every pid", C, "limit = memory(bytes(16))\n" + _EACH.format("syscall(302, pid, 7, limit, None)"), "server"),
    native("setpriority of every pid", C, _EACH.format("syscall(141, 0, pid, 19)"), "server"),
    native("setpriority of a user", C, "import os\nsyscall(141, 2, os.getuid(), 19)", "server"),
    native("sched_setaffinity of every pid", C, "mask = memory(b'\\1' + bytes(7))\n" + _EACH.format("syscall(203, pid, 8, mask)"), "server"),
    native("SCHED_IDLE for every pid", C, "zero = memory(bytes(4))\n" + _EACH.format("syscall(144, pid, 5, zero)"), "server"),
    native("migrate the parent's pages, then kill it", C, "import os\nsyscall(256, os.getppid(), 1, memory(b'\\1'), memory(b'\\1'))\nsyscall(62, os.getppid(), 9)", "server"),
    native("join the parent's process group, then kill it", C, "import os\nsyscall(109, 0, os.getpgid(os.getppid()))\nsyscall(62, 0, 9)", "server"),
)
