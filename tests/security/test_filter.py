"""The system-call filter on the real kernel: every number, asked for by native code in a child."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from azrl.executor import Job, Limits, Status, open_executor

SANDBOX = Path(__file__).resolve().parents[2] / "sandbox"
HIGHEST = 600  # beyond the last number of any kernel so far
PROBES = (
    335,
    336,
)  # x86-64: calls of the kernel's own trampolines, past any filter; SIGILL for everyone else
ENDS_ITSELF = ("exit", "exit_group", "rt_sigreturn")
# ctypes is hidden from import, and reachable all the same: a child is taken for native code.
NATIVE = """
import sys
c = sys.modules["ctypes._endian"]
libc = c.CDLL(None, use_errno=True)
def f(numbers):
    passed = []
    for number in numbers:
        c.set_errno(0)
        result = libc.syscall(c.c_long(number), *[c.c_long(0)] * 6)
        if result != -1 or c.get_errno() != 1:
            passed.append(number)
    return passed
"""


def test_the_kernel_lets_through_what_is_listed_and_nothing_else(guest: dict[str, ModuleType]) -> None:
    seccomp, number = guest["seccomp"], guest["kernel"].number
    fatal = [number(name) for name in seccomp.FATAL]
    ends = [number(name) for name in ENDS_ITSELF]
    x86 = guest["kernel"].MACHINE == "x86_64"
    asked = [n for n in range(HIGHEST) if n not in (*fatal, *ends, *(PROBES if x86 else ()))]
    # With every argument zero: reading from and writing to descriptor 0, and advice to do nothing, are refused.
    listed = {number(name) for name in (*seccomp.ALLOWED, *seccomp.CONDITIONS)} - {None, *ends}
    listed -= {number("read"), number("write"), number("madvise")}
    kills = [*fatal, *([0x40000000] if x86 else [])]
    with open_executor("process", workers=1) as executor:
        first, *deaths = executor.run(
            [Job(NATIVE, (str(asked),), Limits(cpu_s=5.0, source_chars=100_000))]
            + [Job(NATIVE, (f"[{n}]",)) for n in kills]
        )
    assert first.status is Status.OK
    assert first.outputs[0] == str(sorted(listed))
    assert {(r.status, r.error) for r in deaths} == {(Status.CRASH, "signal 31")}
