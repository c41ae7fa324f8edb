"""What hostile programs try against the `process` backend. After each of them an honest job must be right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from azrl.executor import Job, Limits, Result, Status, open_executor
from azrl.executor.process import ProcessExecutor

ROOT = Path(__file__).resolve().parents[2]
HONEST = Job("def f(x):\n    return sorted(x)", ("[3, 1, 2]",))
FRAME = (
    "def frame(tag, text, size=None):\n"
    "    return tag + (len(text) if size is None else size).to_bytes(4, 'little') + text\n"
)
# How a program waits that may not sleep: for a lock that nobody gives back.
WAIT = (
    "def wait(seconds):\n    import _thread\n    lock = _thread.allocate_lock()\n"
    "    lock.acquire()\n    lock.acquire(True, seconds)\n"
)


@pytest.fixture(scope="module")
def executor():
    with open_executor("process", workers=2) as opened:
        assert isinstance(opened, ProcessExecutor)
        yield opened


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def attack(executor: ProcessExecutor, program: str, **limits: object) -> Result:
    """Run it beside an honest job and before another; nothing may be left behind."""
    limits = {"cpu_s": 0.3, "wall_s": 0.8, **limits}
    start = time.monotonic()
    job = Job(program, ("",), Limits(**limits))  # type: ignore[arg-type]
    result, beside = executor.run([job, HONEST])
    assert time.monotonic() - start < 5
    for honest in (beside, *executor.run([HONEST, HONEST])):
        assert honest.outputs == ("[1, 2, 3]",)
    for pid in executor.server_pids():
        assert children_of(pid) == []
    return result


@pytest.mark.parametrize(
    "body",
    [
        "return sum(range(10**13))",
        "return 9**9**9",
        "import re; return re.match('(a+)+$', 'a' * 40 + 'b')",
        "import collections, itertools; collections.deque(itertools.count(), maxlen=0)",
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); sum(range(10**13))",
        "import signal\n    for s in range(1, 65):\n        try: signal.signal(s, signal.SIG_IGN)\n"
        "        except (OSError, ValueError): pass\n    sum(range(10**13))",
        "import _thread; lock = _thread.allocate_lock(); lock.acquire(); lock.acquire()",
        "\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
        "\n    keep = []\n    while True:\n        try:\n"
        "            while True: keep.append(bytearray(1 << 20))\n        except MemoryError: pass",
    ],
)
def test_time_is_held(executor: ProcessExecutor, body: str) -> None:
    result = attack(executor, f"def f():\n    {body}")
    assert result.status is Status.TIMEOUT
    assert result.cpu_ms < 300 + 200


@pytest.mark.parametrize("cpu_s", [0.05, 0.2, 0.5])
def test_the_cpu_limit_is_precise(executor: ProcessExecutor, cpu_s: float) -> None:
    result = attack(executor, "def f():\n    return sum(range(10**13))", cpu_s=cpu_s, wall_s=4.0)
    assert (result.status, result.error) == (Status.TIMEOUT, "cpu_limit")
    assert cpu_s * 1000 - 5 <= result.cpu_ms <= cpu_s * 1000 + 20


@pytest.mark.parametrize(
    "body",
    [
        "return len('x' * 10**10)",
        "return len(bytearray(10**11))",
        "return 1 << 10**12",
        "\n    x = [0]\n    while True: x = x + x",
        "\n    x = {}\n    while True: x[len(x)] = ' ' * 1000",
    ],
)
def test_memory_is_held(executor: ProcessExecutor, body: str) -> None:
    assert attack(executor, f"def f():\n    {body}", memory_mb=128, cpu_s=2, wall_s=4).status is Status.MEMORY


@pytest.mark.parametrize(
    "body",
    [
        "import os\n    while True: os.fork()",
        "import _thread\n    _thread.start_new_thread(print, ())",
        "return open('/etc/passwd').read()",
        "open('/tmp/left_by_a_test', 'w').write('x')",
        "import os; return os.listdir('/')",
        "import os; os.pipe()",
        "import os; os.dup(0)",
        "import os; os.setuid(0)",
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
        "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (64, 64))",
        "import time; time.sleep(60)",
        "import os; os.kill(os.getpid(), 9)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
        "import os; os.kill(-1, 9)",
        "import os; os.stat('/')",
        "import signal; signal.setitimer(signal.ITIMER_REAL, 1)",
        "import socket",
        "import subprocess",
        "import ctypes",
        "return input()",
        "import sys; return sys.stdin.read(1) or 1 // 0",
        "import sys; sys.exit(0)",
        "raise KeyboardInterrupt",
        "class M(type):\n        __name__ = property(lambda s: 1 // 0)\n"
        "    class E(Exception, metaclass=M): pass\n    raise E",
        "raise type('/srv/x', (Exception,), {})",
    ],
)
def test_what_is_forbidden_is_an_ordinary_error(executor: ProcessExecutor, body: str) -> None:
    result = attack(executor, f"def f():\n    {body}")
    assert result.status is Status.ERROR
    assert result.error.isidentifier()
    assert not Path("/tmp/left_by_a_test").exists()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os._exit(0)", "no_answer"),
        ("os._exit(7)", "exit 7"),
        ("os.abort()", "signal 11"),  # it may not even raise SIGABRT, so the C library halts
        ("os.close(3)", "exit 1"),
        ("os.closerange(0, 64)", "exit 1"),
        ("os.write(3, b'K'); os._exit(0)", "broken_frame"),
        ("os.write(3, frame(b'K', b'1', 1 << 31)); os._exit(0)", "broken_frame"),
        ("os.write(3, frame(b'K', b'1', 0)); os._exit(0)", "broken_frame"),
        ("os.write(3, frame(b'Z', b'1')); os._exit(0)", "broken_frame"),
        ("os.write(3, frame(b'K', b'\\xff')); os._exit(0)", "broken_frame"),
        ("os.write(3, frame(b'E', b'/srv/secret: line 1')); os._exit(0)", "broken_frame"),
        ("os.write(3, frame(b'N', b'text')); os._exit(0)", "broken_frame"),
        ("os.write(3, frame(b'K', b'1') * 3); os._exit(0)", "wrong_answer_count"),
        ("os.write(3, frame(b'K', b'1'))", "wrong_answer_count"),
        ("os.write(3, frame(b'C', b'Own') * 2); os._exit(0)", "wrong_answer_count"),
    ],
)
def test_leaving_or_writing_nonsense_is_a_crash(executor: ProcessExecutor, body: str, reason: str) -> None:
    result = attack(executor, f"import os\n{FRAME}def f():\n    {body}")
    assert (result.status, result.error, result.outputs) == (Status.CRASH, reason, (None,))


def test_a_forged_frame_is_worth_what_it_claims(executor: ProcessExecutor) -> None:
    forge = "import os\n" + FRAME + "def f():\n    os.write(3, frame(b'K', {})); os._exit(0)"
    assert attack(executor, forge.format("b'[ 1,2 ]'")).outputs == ("[1, 2]",)
    for text in ("b'open(1)'", "b'[' * 200", "b'nan'", "b'(1).__class__'", "b''"):
        result = attack(executor, forge.format(text))
        assert (result.status, result.outputs) == (Status.OUTPUT, (None,))


@pytest.mark.parametrize("how", ["while True: os.write(3, b'x' * 65536)", "os.write(3, b'x' * 10_000_000)"])
def test_a_flood_is_cut_at_the_cap(executor: ProcessExecutor, how: str) -> None:
    start = time.monotonic()
    result = attack(executor, f"import os\ndef f():\n    {how}", cpu_s=5.0, wall_s=20.0)
    assert (result.status, result.error) == (Status.CRASH, "too_much_output")
    assert time.monotonic() - start < 3


def test_standard_output_goes_nowhere(executor: ProcessExecutor, capfd: pytest.CaptureFixture[str]) -> None:
    program = "import sys\ndef f():\n    print('x' * 100_000)\n    print('y', file=sys.stderr)\n    return 1"
    assert attack(executor, program).outputs == ("1",)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_kept_for_the_next_job(executor: ProcessExecutor) -> None:
    poison = (
        "import builtins, math, sys\n"
        "def f():\n    builtins.sorted = None\n    math.pi = 3\n    sys.modules.clear()\n    return 1"
    )
    attack(executor, poison)
    look = (
        "import math, gc\ndef f():\n    return math.pi, [x for x in gc.get_objects() if x == 'a' + ' secret']"
    )
    attack(executor, "def f():\n    return 'a secret'")
    assert executor.run([Job(look, ("",))])[0].outputs == ("(3.141592653589793, [])",)


def test_no_secret_of_the_parent_is_in_reach(
    executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "x")
    with open_executor("process", workers=1) as fresh:
        [result] = fresh.run([Job("import os\ndef f():\n    return dict(os.environ)", ("",))])
    assert result.outputs[0] is not None
    assert "SECRET" not in result.outputs[0]
    assert "PYTHONHASHSEED" in result.outputs[0]


def test_a_long_program_and_long_inputs(executor: ProcessExecutor) -> None:
    program = "def f(*a):\n    return len(a)\n" + "# padding\n" * 100_000
    inputs = tuple("'" + "x" * 1000 + "'" for _ in range(900))
    [result] = executor.run([Job(program, inputs, Limits(source_chars=2_000_000, cpu_s=5))])
    assert result.outputs == ("1",) * 900


def test_a_killed_server_loses_no_job(executor: ProcessExecutor) -> None:
    jobs = [Job(WAIT + "def f(x):\n    wait(0.05)\n    return x", (str(i),)) for i in range(50)]
    killed: list[int] = []

    def kill() -> None:
        for _ in range(3):
            time.sleep(0.4)
            pid = executor.server_pids()[0]
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    results = executor.run(jobs)
    thread.join()
    assert len(set(killed)) == 3
    assert [r.outputs for r in results] == [(str(i),) for i in range(50)]


def test_a_job_whose_servers_keep_dying_is_infra(executor: ProcessExecutor) -> None:
    done = threading.Event()

    def kill() -> None:
        while not done.is_set():
            for pid in executor.server_pids():
                if children_of(pid):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    slow = Job(WAIT + "def f():\n    wait(1)\n    return 1", ("",), Limits(wall_s=4.0))
    [result] = executor.run([slow])
    done.set()
    thread.join()
    assert (result.status, result.outputs) == (Status.INFRA, (None,))
    assert executor.run([HONEST])[0].outputs == ("[1, 2, 3]",)


def test_a_stopped_server_is_given_up(executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("azrl.executor.crew._LOST_SECONDS", 0.5)
    executor.run([HONEST, HONEST])
    for pid in executor.server_pids():
        os.kill(pid, signal.SIGSTOP)
    jobs = [Job("def f(x):\n    return x", (str(i),), Limits(wall_s=0.3)) for i in range(4)]
    assert [r.outputs for r in executor.run(jobs)] == [(str(i),) for i in range(4)]


def test_an_interrupted_batch_leaves_a_working_executor(executor: ProcessExecutor) -> None:
    def interrupt(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(InterruptedError):
            executor.run([Job(WAIT + "def f():\n    wait(9)", ("",), Limits(wall_s=9.0))])
    finally:
        signal.signal(signal.SIGALRM, before)
    deadline = time.monotonic() + 5
    while executor.metrics()["in_flight"]:
        assert time.monotonic() < deadline, "the child of an interrupted call must be killed"
        time.sleep(0.01)
    assert executor.run([HONEST])[0].outputs == ("[1, 2, 3]",)


def test_nothing_leaks() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with open_executor("process", workers=2) as opened:
        assert isinstance(opened, ProcessExecutor)
        bad = Job("import os\ndef f():\n    os._exit(3)", ("",))
        opened.run([HONEST] * 20)
        during = len(os.listdir("/proc/self/fd"))
        opened.run([HONEST, bad] * 100)
        assert len(os.listdir("/proc/self/fd")) == during
        pids = opened.server_pids()
        assert len(pids) == 2
    assert len(os.listdir("/proc/self/fd")) == before
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize("moment", ["idle", "busy"])
def test_servers_die_with_their_parent(moment: str) -> None:
    code = f"""
import sys, threading, time
from azrl.executor import Job, Limits, open_executor
ex = open_executor("process", workers=2)
ex.run([Job("def f():\\n    return 1", ("",))] * 8)
print(*ex.server_pids(), flush=True)
if {moment == "busy"}:
    ex.run([Job("while True: pass", ("",), Limits(cpu_s=1.5))] * 2)
time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        time.sleep(0.3)
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        parent.kill()
    deadline = time.monotonic() + 5
    while any(running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
