"""The pool over scripted servers: what it does with losses, lies, silence, copies and impatient callers.

`Fake` stands in for a server, so that every fault can be had at will; the real ones are in
tests/security/test_process_faults.py.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from azrl.errors import UserError
from azrl.executor import Job, Limits, Status, open_executor
from azrl.executor.crew import PoolSettings
from azrl.executor.metrics import percentiles
from azrl.executor.pooled import PooledExecutor
from azrl.executor.server import ServerLost
from azrl.executor.wire import REQUEST, Ended, Reply

Answer = Callable[["Fake", str, str], "str | None"]


def right(fake: Fake, program: str, call: str) -> str:
    """What the program gives: ours, so it may run here."""
    scope: dict[str, object] = {}
    exec(program, scope)
    return repr(eval(f"f({call})", scope))


KILLED = "killed"


class Fake:
    """Answers at once, by a script: a text, ServerLost for None, a child that somebody killed for KILLED. It keeps
    its slot when it starts again."""

    window = 1

    def __init__(self, variant: int, slot: int, answer: Answer, log: list[tuple[int, str]]):
        self.variant, self.slot, self.answer, self.log = variant, slot, answer, log
        self.starts = self.jobs = 0
        self.pid = None
        self._fd = -1
        self._ended: Ended | None = None
        self._lost = False

    def begin(self) -> None:
        self.starts += 1
        self._fd = os.eventfd(1)
        self._ended, self._lost = None, False

    def ready(self) -> bool:
        os.eventfd_read(self._fd)
        return True

    def fileno(self) -> int:
        return self._fd

    def submit(self, request: bytes, payload: bytes, cap: int, more: bool = False) -> None:
        number = REQUEST.unpack(request)[0]
        texts, at = [], 12 + 4 * int.from_bytes(payload[8:12], "little")
        for i in range(int.from_bytes(payload[8:12], "little")):
            size = int.from_bytes(payload[12 + 4 * i : 16 + 4 * i], "little")
            texts.append(payload[at : at + size].decode())
            at += size
        self.jobs += 1
        self.log.append((self.slot, texts[0]))
        data, status = b"", 0
        for call in texts[1:]:
            text = self.answer(self, texts[0], call)
            if text is None:
                self._lost = True
            elif text == KILLED:
                status = signal.SIGKILL
            else:
                data += b"K" + len(text).to_bytes(4, "little") + text.encode()
        self._ended = Ended(Reply(number, status, 100, 100), data, False)
        os.eventfd_write(self._fd, 1)

    def tend(self) -> None: ...

    def receive(self) -> Ended | None:
        os.eventfd_read(self._fd)
        if self._lost:
            raise ServerLost("scripted")
        return self._ended

    def kill_child(self) -> None: ...

    def kill(self) -> None: ...

    def stop(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def pool(
    answer: Answer = right, workers: int = 2, **settings: int
) -> tuple[PooledExecutor, list[tuple[int, str]]]:
    log: list[tuple[int, str]] = []
    return (
        PooledExecutor(lambda v, slot: Fake(v, slot, answer, log), PoolSettings(workers, **settings)),
        log,
    )


def adders(n: int, **options: object) -> list[Job]:
    return [Job(f"def f(x):\n    return x + {i}", ("1",), **options) for i in range(n)]  # type: ignore[arg-type]


def test_every_job_has_its_result_in_order_and_streams_have_each_index_once() -> None:
    opened, _ = pool()
    with opened:
        assert [r.outputs for r in opened.run(adders(200))] == [(str(i + 1),) for i in range(200)]
        found = list(opened.stream(iter(adders(200))))
    assert sorted(index for index, _ in found) == list(range(200))
    assert all(result.outputs == (str(index + 1),) for index, result in found)


def test_a_stream_takes_jobs_only_as_fast_as_results_are_taken() -> None:
    opened, _ = pool(workers=1)
    taken = 0

    def endless() -> Iterator[Job]:
        nonlocal taken
        while True:
            taken += 1
            yield Job(f"def f(x):\n    return x + {taken}", ("1",))

    with opened:
        stream = opened.stream(endless())
        for _ in range(100):
            next(stream)
            assert opened.run(adders(1))[0].outputs == ("1",), "other callers are served meanwhile"
        assert taken <= 100 + 2 * 16
        stream.close()  # type: ignore[attr-defined]
        assert [r.outputs for r in opened.run(adders(3))] == [("1",), ("2",), ("3",)]


def test_a_lost_server_costs_no_job_and_the_second_loss_is_infra() -> None:
    lost: list[str] = []

    def once(fake: Fake, program: str, call: str) -> str | None:
        if "+ 7" in program and len(lost) < 1:
            lost.append(program)
            return None
        return right(fake, program, call)

    opened, log = pool(once)
    with opened:
        assert [r.outputs for r in opened.run(adders(20))] == [(str(i + 1),) for i in range(20)]
        metrics = opened.metrics()
        assert (metrics["respawns"], metrics["retries"], metrics["infra"]) == (1, 1, 0)
    assert sum("+ 7" in program for _, program in log) == 2

    opened, log = pool(lambda fake, program, call: None if "+ 7" in program else right(fake, program, call))
    with opened:
        results = opened.run(adders(20))
    assert (results[7].status, results[7].outputs, results[7].error) == (Status.INFRA, (None,), "server_lost")
    assert all(r.status is Status.OK for i, r in enumerate(results) if i != 7)
    slots = [slot for slot, program in log if "+ 7" in program]
    assert len(slots) == 2


def test_a_wrong_canary_retires_the_server_and_its_answers_are_taken_back() -> None:
    """From its fifth job on, slot 0's first server lies about everything, as a broken machine would."""

    def lies(fake: Fake, program: str, call: str) -> str:
        broken = fake.slot == 0 and fake.starts == 1 and fake.jobs >= 5
        return "'wrong'" if broken else right(fake, program, call)

    opened, _ = pool(lies, canary_every=10)
    with opened:
        results = opened.run(adders(300))
        metrics = opened.metrics()
    assert [r.outputs for r in results] == [(str(i + 1),) for i in range(300)]
    assert metrics["canaries_wrong"] == metrics["respawns"] == 1
    assert (
        1 <= metrics["retries"] <= 10
    )  # fewer where the pool was idle for a moment and asked a canary early
    assert metrics["infra"] == 0


def test_a_killed_child_runs_once_more_and_a_killed_canary_discredits_no_one() -> None:
    hit: set[str] = set()

    def once(fake: Fake, program: str, call: str) -> str:
        if program in hit or not ("groups" in program or program.endswith("+ 7")):
            return right(fake, program, call)
        hit.add(program)
        return KILLED

    opened, log = pool(once, workers=1)
    with opened:
        assert [r.outputs for r in opened.run(adders(20))] == [(str(i + 1),) for i in range(20)]
        metrics = opened.metrics()
    assert len(hit) == 2
    assert len(log) == 20 + 1 + metrics["canaries"]
    assert (metrics["retries"], metrics["canaries_wrong"], metrics["respawns"]) == (1, 0, 0)

    opened, _ = pool(lambda fake, program, call: KILLED if "+ 7" in program else right(fake, program, call))
    with opened:
        result = opened.run(adders(20))[7]
    assert (result.status, result.error) == (Status.CRASH, "signal 9")


def test_without_canaries_the_same_lies_pass() -> None:
    """The control: it is the canary that finds them."""
    opened, _ = pool(lambda fake, program, call: "'wrong'", canary_every=0)
    with opened:
        assert opened.run(adders(1))[0].outputs == ("'wrong'",)


def test_servers_that_always_lie_end_as_infra() -> None:
    opened, _ = pool(lambda fake, program, call: "'wrong'")
    with opened:
        results = opened.run(adders(30))
    assert {(r.status, r.outputs, r.error) for r in results} == {(Status.INFRA, (None,), "wrong_canary")}


def test_servers_are_recycled_and_no_job_notices() -> None:
    opened, _ = pool(workers=1, recycle_after=20, canary_every=5)
    with opened:
        assert [r.outputs for r in opened.run(adders(200))] == [(str(i + 1),) for i in range(200)]
        assert 5 <= opened.metrics()["recycled"] <= 12


def test_the_cache_runs_a_question_once_unless_it_must_be_fresh() -> None:
    opened, log = pool(cache_entries=4)
    with opened:
        opened.run(adders(1) * 10)
        opened.run(adders(1))
        assert len([p for _, p in log if p == adders(1)[0].program]) == 1
        assert opened.metrics()["cache_hits"] == 10
        assert opened.metrics()["jobs"] == 11
        opened.run(adders(1, fresh=True) * 3)
        other = [
            adders(1, variant=1),
            adders(1, limits=Limits(cpu_s=0.5)),
            [Job(adders(1)[0].program, ("2",))],
        ]
        for jobs in other:
            opened.run(jobs)
        assert len([p for _, p in log if p == adders(1)[0].program]) == 1 + 3 + 3
        before = len(log)
        opened.run(adders(6))  # the first is still known; then there are more than it holds
        assert all(p != adders(1)[0].program for _, p in log[before:])
        opened.run(adders(1))
        assert len([p for _, p in log[before:] if p == adders(1)[0].program]) == 1


def test_a_cached_answer_that_a_canary_discredits_is_never_kept() -> None:
    opened, _ = pool(lambda fake, program, call: "'wrong'", cache_entries=10)
    with opened:
        first = opened.run(adders(1) * 3)
        assert {r.status for r in first} == {Status.INFRA}
        before = opened.metrics()["cache_hits"]  # those that joined a job under way
        assert opened.run(adders(1))[0].status is Status.INFRA
        assert opened.metrics()["cache_hits"] == before


def test_what_cannot_start_is_infra_after_some_tries_with_the_reason() -> None:
    class Broken(Fake):
        def begin(self) -> None:
            self.starts += 1
            raise UserError("no such interpreter")

    broken = PooledExecutor(lambda v, slot: Broken(v, slot, right, []), PoolSettings(2))
    with broken:
        assert {(r.status, r.error) for r in broken.run(adders(50))} == {(Status.INFRA, "server_start")}
        with pytest.raises(UserError, match="no such interpreter"):
            broken.start()


def test_closing_lets_open_calls_finish_and_refuses_new_ones() -> None:
    gate = threading.Event()

    def slow(fake: Fake, program: str, call: str) -> str:
        gate.wait(5)
        return right(fake, program, call)

    opened, _ = pool(slow)
    found: list[object] = []
    caller = threading.Thread(target=lambda: found.extend(opened.run(adders(20))))
    caller.start()
    while not opened.metrics()["queue_max"]:
        time.sleep(0.005)
    closer = threading.Thread(target=opened.close)
    closer.start()
    time.sleep(0.05)
    with pytest.raises(RuntimeError, match="closed"):
        opened.run(adders(1))
    gate.set()
    caller.join(10)
    closer.join(10)
    assert [r.outputs for r in found] == [(str(i + 1),) for i in range(20)]  # type: ignore[attr-defined]


def test_closing_without_patience_tells_those_who_wait() -> None:
    opened, _ = pool(lambda fake, program, call: None, workers=1)
    opened.close(0.0)
    with pytest.raises(RuntimeError, match="closed"):
        opened.run(adders(1))
    with pytest.raises(RuntimeError, match="closed"):
        next(opened.stream(adders(1)))


def test_a_fault_of_the_pool_itself_reaches_the_caller() -> None:
    def fault(fake: Fake, program: str, call: str) -> str:
        raise ZeroDivisionError

    opened, _ = pool(fault)
    with pytest.raises(ZeroDivisionError):
        opened.run(adders(3))
    with pytest.raises(RuntimeError, match="closed"):
        opened.run(adders(3))
    opened.close()


def test_what_is_no_job_is_the_callers_error_and_harms_no_one() -> None:
    for entries in (0, 5):
        opened, _ = pool(cache_entries=entries)
        with opened:
            with pytest.raises(TypeError, match="Job"):
                opened.run(["def f(): pass"])  # type: ignore[list-item]
            odd = [
                Job("x", 5),  # type: ignore[arg-type]
                Job("x", ("",), None),  # type: ignore[arg-type]
                Job("x", ("",), Limits(cpu_s="1")),  # type: ignore[arg-type]
                *(Job("x", ("",), variant=v) for v in ("a", None, [], 64, 10**9)),  # type: ignore[arg-type]
            ]
            results = opened.run([*odd, *adders(1)])
            assert [r.status for r in results[:-1]] == [Status.REFUSED] * len(odd)
            assert results[-1].outputs == ("1",)
            assert opened.run(adders(1))[0].outputs == ("1",)


def test_percentiles_are_nearest_rank() -> None:
    assert percentiles(range(1, 101)) == {50: 50, 95: 95, 99: 99}
    assert percentiles([3.0]) == {50: 3.0, 95: 3.0, 99: 3.0}
    assert percentiles([]) == {}


def test_metrics_count_kills_by_reason() -> None:
    deadlock = (
        "import _thread\ndef f():\n    lock = _thread.allocate_lock()\n    lock.acquire(), lock.acquire()"
    )
    with open_executor("process", workers=1) as process:
        before = process.metrics()
        process.run([Job("def f():\n    while 1: pass", ("",), Limits(cpu_s=0.05))] * 2)
        process.run([Job(deadlock, ("",), Limits(wall_s=0.1))])
        after = process.metrics()
    assert after["kills/cpu_limit"] - before["kills/cpu_limit"] == 2
    assert after["kills/wall_limit"] == 1
    assert after["run_ms_p99"] >= 50
    assert (after["queue"], after["in_flight"]) == (0, 0)
