"""The relay of the sandbox's container, run here without a container: real servers, real programs, both ends."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from azrl.executor import Job, Limits, Status, wire
from azrl.executor.admit import Admitted, admit
from azrl.executor.container import link

SANDBOX = Path(__file__).parents[2] / "sandbox"
START = {
    "argv": ["-S", "-B", "-P", "-s", str(SANDBOX / "server.py"), "0", "3", ""],
    "env": {"PYTHONHASHSEED": "1"},
}
HONEST = Job("def f(x):\n    return x * 2", ("21", "'ab'"))


class Ends:
    """The host's side of a relay's pipes, frame by frame."""

    def __init__(self) -> None:
        command = [sys.executable, "-S", "-B", "-P", "-s", str(SANDBOX / "relay.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._buffer = b""

    def send(self, kind: int, number: int = 1, *parts: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(link.HEAD.pack(sum(map(len, parts)), kind, number) + b"".join(parts))

    def take(self, seconds: float = 20.0) -> tuple[int, int, bytes]:
        """The next frame."""
        head = link.HEAD.unpack(self._exactly(link.HEAD.size, seconds))
        return head[1], head[2], self._exactly(head[0], seconds)

    def start(self, number: int = 1) -> None:
        self.send(link.START, number, json.dumps(START).encode())
        kind, who, greeting = self.take()
        assert (kind, who, greeting[:5]) == (link.GREETING, number, b"ready")

    def submit(self, job: Job, number: int = 1, cap: int | None = None, serial: int = 7) -> Admitted:
        admitted = admit(job)
        assert isinstance(admitted, Admitted)
        request, payload = wire.request(serial, admitted), wire.payload(admitted)
        head = link.JOB_HEAD.pack(len(request), wire.frames_cap(admitted) if cap is None else cap)
        self.send(link.JOB, number, head, request, payload)
        return admitted

    def finish(self, admitted: Admitted, number: int = 1, serial: int = 7) -> wire.Ended:
        """What came of the job."""
        data = b""
        while True:
            kind, who, body = self.take()
            assert who == number
            if kind == link.DATA:
                data += body
                continue
            assert kind == link.DONE
            flooded, size = link.DONE_HEAD.unpack_from(body)
            start = link.DONE_HEAD.size
            reply = wire.Reply(*wire.REPLY.unpack(body[start : start + size]))
            assert reply.job == serial
            return wire.Ended(reply, data + body[start + size :], bool(flooded))

    def run(self, job: Job, number: int = 1) -> wire.Result:
        return wire.verdict(admitted := self.submit(job, number), self.finish(admitted, number))

    def _exactly(self, size: int, seconds: float) -> bytes:
        assert self.process.stdout is not None
        until = time.monotonic() + seconds
        while len(self._buffer) < size:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = self.process.stdout.read(1 << 16)
            if not part:
                raise EOFError
            self._buffer += part
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    kind, _, hello = made.take()
    assert kind == link.HELLO
    assert json.loads(hello)["python"] == sys.version.split()[0]
    yield made
    made.process.kill()
    made.process.wait()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    """Whether a process ends within two seconds; a zombie that nobody waits for has ended."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def test_honest_jobs_on_two_servers_at_once(ends: Ends) -> None:
    ends.start(1)
    ends.start(70_000)
    assert ends.run(HONEST, 1).outputs == ("42", "'abab'")
    assert ends.run(HONEST, 70_000).outputs == ("42", "'abab'")


def test_programs_and_answers_larger_than_any_buffer(ends: Ends) -> None:
    ends.start()
    text = "x" * 400_000
    job = Job(
        f"def f(x):\n    return x + {text!r}[:7000]",
        [f"'{i}'" for i in range(300)],
        Limits(source_chars=10**6),
    )
    result = ends.run(job)
    assert result.outputs == tuple(repr(f"{i}" + "x" * 7000) for i in range(300))


def test_a_flood_is_cut_at_the_cap_and_the_server_lives(ends: Ends) -> None:
    ends.start()
    flood = Job("import os\ndef f():\n    while True:\n        os.write(3, b'x' * 65536)", ("",))
    started = time.monotonic()
    admitted = ends.submit(flood)
    ended = ends.finish(admitted)
    assert ended.flooded
    assert len(ended.data) <= wire.frames_cap(admitted)
    assert time.monotonic() - started < 1.0
    assert ends.run(HONEST).status is Status.OK


def test_limits_hold_and_a_child_is_killed_when_told(ends: Ends) -> None:
    ends.start()
    endless = "def f():\n    while True:\n        pass"
    assert ends.run(Job(endless, ("",), Limits(cpu_s=0.05))).status is Status.TIMEOUT
    admitted = ends.submit(Job(endless, ("",), Limits(cpu_s=60.0)))
    time.sleep(0.2)
    ends.send(link.CHILD, 1, link.CHILD_BODY.pack(7))
    assert wire.verdict(admitted, ends.finish(admitted)).error == f"signal {signal.SIGKILL}"
    assert ends.run(HONEST).status is Status.OK


def test_jobs_wait_in_line_and_only_the_one_that_is_named_is_killed(ends: Ends) -> None:
    ends.start()
    jobs = [Job(f"def f():\n    return {i}", ("",)) for i in range(20)]
    jobs.insert(10, Job("def f():\n    while True:\n        pass", ("",), Limits(cpu_s=60.0)))
    waiting = [ends.submit(job, serial=serial) for serial, job in enumerate(jobs)]
    answers = [wire.verdict(waiting[i], ends.finish(waiting[i], serial=i)) for i in range(10)]
    assert [answer.outputs for answer in answers] == [(str(i),) for i in range(10)]
    for other in (9, 11):  # one that has ended, one that has not begun
        ends.send(link.CHILD, 1, link.CHILD_BODY.pack(other))
    time.sleep(0.2)
    ends.send(link.CHILD, 1, link.CHILD_BODY.pack(10))
    assert wire.verdict(waiting[10], ends.finish(waiting[10], serial=10)).error == f"signal {signal.SIGKILL}"
    answers = [wire.verdict(waiting[i], ends.finish(waiting[i], serial=i)) for i in range(11, 21)]
    assert [answer.outputs for answer in answers] == [(str(i),) for i in range(10, 20)]


def test_a_killed_server_is_reported_once_and_its_number_starts_again(ends: Ends) -> None:
    ends.start()
    [server] = children(ends.process.pid)
    ends.submit(Job("def f():\n    while True:\n        pass", ("",), Limits(cpu_s=60.0)))
    while not (child := children(server)):
        time.sleep(0.01)
    os.kill(server, signal.SIGKILL)
    assert ends.take() == (link.LOST, 1, b"")
    assert gone(child[0])
    ends.submit(HONEST)  # to a server that is gone: no answer, no harm
    ends.start(2)
    assert ends.run(HONEST, 2).status is Status.OK


def test_stop_ends_the_server_and_its_child(ends: Ends) -> None:
    ends.start()
    [server] = children(ends.process.pid)
    ends.send(link.STOP)
    assert gone(server)
    ends.send(link.BEAT)
    assert ends.take() == (link.BEAT, 0, b"")
    assert children(ends.process.pid) == []


def test_with_the_stream_all_ends(ends: Ends) -> None:
    ends.start()
    [server] = children(ends.process.pid)
    ends.submit(Job("def f():\n    while True:\n        pass", ("",), Limits(cpu_s=60.0)))
    while not (child := children(server)):
        time.sleep(0.01)
    assert ends.process.stdin is not None
    ends.process.stdin.close()
    assert gone(server)
    assert gone(child[0])


def test_a_relay_that_hears_nothing_leaves() -> None:
    script = f"import sys; sys.path.insert(0, {str(SANDBOX)!r}); import relay; relay.SILENCE = 1.5; relay.Relay().run()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        for _ in range(3):
            time.sleep(0.8)
            assert process.poll() is None
            process.stdin.write(struct.pack("<IBI", 0, link.BEAT, 0))
            process.stdin.flush()
        assert process.wait(5) == 0
