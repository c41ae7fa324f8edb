"""Real fork servers that are killed, stopped and soaked: every job gets exactly one right result."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from azrl.executor import Job, Limits, Status, open_executor
from azrl.executor.process import ProcessExecutor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import soak
from support.faults import as_expected, children_of, killing, soak_jobs


def opened(**settings: int) -> ProcessExecutor:
    executor = open_executor("process", workers=2, **settings)  # type: ignore[arg-type]
    assert isinstance(executor, ProcessExecutor)
    return executor


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_servers_killed_at_random_under_load_cost_no_job(seed: int) -> None:
    """A job that is hit twice may be INFRA; nothing may be lost, doubled or wrong."""
    jobs = [
        Job(
            f"import _thread\ndef f(x):\n    lock = _thread.allocate_lock()\n    lock.acquire()\n"
            f"    lock.acquire(True, {i % 5} / 200)\n    return x * {i}",
            ("3",),
        )
        for i in range(400)
    ]
    seen: Counter[int] = Counter()
    infra = 0
    with opened() as executor, killing(executor, 0.4, seed) as killed:
        for index, result in executor.stream(jobs):
            seen[index] += 1
            infra += result.status is Status.INFRA
            assert result.status in (Status.OK, Status.INFRA)
            assert result.outputs == (str(3 * index) if result.status is Status.OK else None,)
        metrics = executor.metrics()
    assert seen == Counter(range(400))
    assert len(killed) >= 3
    assert infra == metrics["infra"] <= len(killed) // 2
    assert metrics["retries"] >= infra


@pytest.mark.slow
def test_children_killed_at_random_under_load_cost_no_job() -> None:
    """A child that somebody kills is no crash of its program: it runs once more. Only one killed twice is lost."""
    jobs = [Job(f"def f(x):\n    sum(range(60_000))\n    return x * {i}", ("3",)) for i in range(1800)]
    with opened() as executor, killing(executor, 0.2, 0, children=True) as killed:
        results = executor.run(jobs)
        metrics = executor.metrics()
    lost = [r for i, r in enumerate(results) if r.outputs != (str(3 * i),)]
    assert len(results) == 1800
    assert {(r.status, r.error) for r in lost} <= {(Status.CRASH, "signal 9")}
    assert len(lost) <= len(killed) // 2
    assert len(killed) >= 2
    assert metrics["retries"] >= 1


def test_a_program_that_is_killed_twice_crashes() -> None:
    done = threading.Event()
    with opened() as executor:

        def kill() -> None:
            while not done.wait(0.02):
                for pid in executor.server_pids():
                    for child in children_of(pid):
                        os.kill(child, signal.SIGKILL)

        thread = threading.Thread(target=kill)
        thread.start()
        [result] = executor.run(
            [Job("def f():\n    sum(range(10**8))", ("",), Limits(cpu_s=5.0, wall_s=30.0))]
        )
        done.set()
        thread.join()
    assert (result.status, result.error) == (Status.CRASH, "signal 9")


def test_a_server_that_dies_idle_is_replaced() -> None:
    with opened() as executor:
        executor.run([Job("def f():\n    return 1", ("",))] * 8)
        for pid in executor.server_pids():
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        results = executor.run([Job("def f():\n    return 2", ("",))] * 8)
    assert [r.outputs for r in results] == [("2",)] * 8


def test_a_server_killed_while_it_starts_is_started_again() -> None:
    executor = opened()
    with executor:
        done = threading.Event()

        def kill_young() -> None:
            known = set(executor.server_pids())
            for _ in range(2):
                while not (young := set(executor.server_pids()) - known) and not done.is_set():
                    time.sleep(0.001)
                for pid in young:
                    os.kill(pid, signal.SIGKILL)
                known |= young

        thread = threading.Thread(target=kill_young)
        thread.start()
        [result] = executor.run([Job("def f():\n    return 5", ("",), variant=3)])
        done.set()
        thread.join()
    assert result.outputs == ("5",)


@pytest.mark.parametrize("seed", range(2))
def test_bad_input_among_good_harms_only_itself(seed: int) -> None:
    """All of it shuffled, so that every kind runs beside and between honest jobs."""
    big = "def f(*a):\n    return len(a)\n"
    bad: list[tuple[Job, set[Status]]] = [
        (Job(big + "#" * 1_000_000, ("1",)), {Status.REFUSED}),
        (Job(big + "#" * 1_000_000, ("1",), Limits(source_chars=2_000_000)), {Status.OK}),
        (Job(big + "x = '" + "\\n" * 500_000 + "'", ("1",), Limits(source_chars=2_000_000)), {Status.OK}),
        (Job("x = '\0'\n" + big, ("1",)), {Status.ERROR}),
        (Job("x = '\ud800'\n" + big, ("1",)), {Status.ERROR}),
        (Job(big, ("'\ud800'",)), {Status.REFUSED}),
        (Job(big, ("'\\ud800'",)), {Status.OK}),
        (Job(big, ("'a\0b'",)), {Status.OK, Status.REFUSED}),
        (Job(big, tuple(map(str, range(10_000))), Limits(cpu_s=30.0)), {Status.OK}),
        (Job(big, ("1",) * 10_001), {Status.REFUSED}),
        (Job(big, ("open('/etc/passwd')",)), {Status.REFUSED}),
        (Job(big, ("(" * 100_000,)), {Status.REFUSED}),
        (Job(big, ("9" * 100_000,)), {Status.REFUSED}),
        (Job("", ("1",)), {Status.ERROR}),
        (Job(big, ()), {Status.REFUSED}),
        *((Job(big, ("1",), limits), {Status.REFUSED}) for limits in (
            Limits(cpu_s=0), Limits(wall_s=0), Limits(memory_mb=0), Limits(output_chars=0), Limits(source_chars=0)
        )),
        (Job(big, ("1",), Limits(cpu_s=1e-9)), {Status.TIMEOUT, Status.OK}),  # a tick late
        (Job(big, ("1",), Limits(wall_s=1e-9)), {Status.TIMEOUT}),
        (Job("def f(x):\n    return len(bytearray(1 << 22))", ("1",), Limits(memory_mb=1)), {Status.MEMORY}),
        (Job("def f(x):\n    return 'ab'", ("1",), Limits(output_chars=1)), {Status.OUTPUT}),
    ]  # fmt: skip
    honest = [(Job(f"def f(x):\n    return x + {i}", ("1",)), {Status.OK}) for i in range(60)]
    mixed = [*bad, *honest]
    random.Random(seed).shuffle(mixed)
    with opened() as executor:
        results = executor.run([job for job, _ in mixed])
    for (job, statuses), result in zip(mixed, results, strict=True):
        assert result.status in statuses, (job.program[:60], job.limits, result.status, result.error)
        assert len(result.outputs) == len(job.inputs)
        if "return x +" in job.program:
            assert result.outputs == (str(1 + int(job.program.rpartition(" ")[2])),)


@pytest.mark.slow
def test_a_short_soak(tmp_path: Path) -> None:
    """The soak of benchmarks/soak.py, shortened: the same code, the same demands but the memory's."""
    outcome = soak.soak(jobs=1500, hostile=0.1, workers=2, kill_every_s=1.5, seed=1)
    assert (outcome["lost"], outcome["wrong"], outcome["doubled"]) == (0, 0, 0)
    assert outcome["infra"] <= outcome["servers_killed"]
    assert outcome["descriptors_after"] == outcome["descriptors_before"]
    assert outcome["processes_left"] == 0
    assert outcome["hostile"] > 100


def test_the_soak_says_how_far_it_is() -> None:
    times = iter((100.0, 101.0, 104.9, 105.0, 109.9, 115.0))
    lines: list[str] = []
    progress = soak.Progress(1_000_000, lines.append, lambda: next(times))
    for done in (700, 2900, 3000, 5000, 250_000):
        progress.at(done, 2, 0, 1)
    assert lines == [
        "3,000 of 1,000,000 jobs (0%), 600 a second, 2 servers killed, 0 wrong, 1 without a verdict",
        "250,000 of 1,000,000 jobs (25%), 24,700 a second, 2 servers killed, 0 wrong, 1 without a verdict",
    ]


def test_the_soak_can_fail() -> None:
    [(job, expected)] = soak_jobs(1, 0.0, 0)
    with opened() as executor:
        [right] = executor.run([job])
        [wrong] = executor.run([Job(job.program, ("12345",))])
    assert as_expected(right, expected)
    assert not as_expected(wrong, expected)
