"""Attacks with known fates, run on the live executor before it is handed out: a layer that is broken or absent is
found here, and then there is no executor.

Each attack is written so that a hole gives OK with the word "hole", and each stops short of harm if it does
succeed. An honest program among them must be right.
"""

from __future__ import annotations

from azrl.errors import UserError
from azrl.executor.base import Executor, Job, Limits, Result, Status

_SHORT = Limits(cpu_s=0.05, wall_s=0.5, memory_mb=128)
_ENDS = Limits(cpu_s=0.5, wall_s=1.0, memory_mb=128)
_HONEST = Job("def f(x, y=1):\n    return [x] * y", ("'a', 2", "3"))
_OUTPUTS = ("['a', 'a']", "[3]")


def _attack(body: str, limits: Limits = _ENDS) -> Job:
    return Job(f"import os\ndef f():\n    {body}\n    return 'hole'", ("",), limits)


_ERROR, _CRASH = Status.ERROR, Status.CRASH
_ATTACKS = (
    ("the CPU limit", Status.TIMEOUT, _attack(
        "import signal; signal.pthread_sigmask(0, range(1, 65)); sum(range(10**13))", _SHORT
    )),
    ("the memory limit", Status.MEMORY, _attack("bytearray(1 << 34)")),
    ("starting a process", _ERROR, _attack("os.fork() or os._exit(0)")),
    ("executing a program", _ERROR, _attack("os.execv('/bin/true', ['true'])")),
    ("starting a thread", _ERROR, _attack("import _thread; _thread.start_new_thread(len, ('',))")),
    ("reading a file", _ERROR, _attack("open('/etc/passwd').read(1)")),
    ("reading a folder", _ERROR, _attack("os.listdir('/')")),
    ("writing a file", _ERROR, _attack("open('/dev/null', 'w')")),
    ("a file in memory", _ERROR, _attack("os.memfd_create('x')")),
    ("a pipe", _ERROR, _attack("os.pipe()")),
    ("another descriptor", _ERROR, _attack("os.dup(0)")),
    ("a socket", _ERROR, _attack("import socket; socket.socket()")),
    ("native code by ctypes", _ERROR, _attack("import ctypes; ctypes.CDLL(None).getpid()")),
    ("leaving without an answer", _CRASH, _attack("os._exit(0)")),
    ("a frame that is none", _CRASH, _attack("os.write(3, b'Kxxxxxxxx'); os._exit(0)")),
    ("a flood of the answer", _CRASH, _attack("[os.write(3, bytes(1 << 20)) for _ in range(8)]")),
)  # fmt: skip
_HELD_BY_SECCOMP_ALONE = (
    ("signalling its server", _ERROR, _attack("os.kill(os.getppid() if os.getppid() > 1 else 1, 0)")),
    ("signalling itself", _ERROR, _attack("os.kill(os.getpid(), 0)")),
    ("reading metadata", _ERROR, _attack("os.stat('/')")),
    ("changing its user", _ERROR, _attack("os.setuid(os.getuid())")),
    ("setting its limits", _ERROR, _attack(
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, r.getrlimit(r.RLIMIT_NOFILE))"
    )),
)  # fmt: skip


def check(executor: Executor) -> None:
    """Raises UserError naming every attack that did not end as it must, or the honest program that did not.

    Where the executor itself reports that seccomp is missing, and `executor.minimum_layers` let it start all the
    same, what only seccomp holds is not tried.
    """
    attacks = _ATTACKS + (() if "missing seccomp" in executor.describe() else _HELD_BY_SECCOMP_ALONE)
    first, *results, last = executor.run([_HONEST, *(job for _, _, job in attacks), _HONEST])
    wrong = [
        f"{what} gave {_said(result)} where it must give {status.value}"
        for (what, status, _), result in zip(attacks, results, strict=True)
        if result.status is not status
    ]
    wrong += [
        f"an honest program gave {_said(result)}" for result in (first, last) if result.outputs != _OUTPUTS
    ]
    if wrong:
        raise UserError(
            f"the {executor.name} executor fails its self-check and must not be used: {'; '.join(wrong)}. "
            "`python main.py doctor` shows its layers; docs/sandbox.md says what each needs"
        )


def _said(result: Result) -> str:
    return f"{result.status.value} ({result.error or result.outputs})"
