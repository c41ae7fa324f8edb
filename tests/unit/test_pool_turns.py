"""Several callers of one pool: none waits for what is only another one's."""

from __future__ import annotations

import threading
import time

from test_pool import Fake, adders, pool, right

from azrl.executor import Result


def test_a_caller_does_not_wait_until_another_ones_jobs_are_done() -> None:
    both = threading.Event()

    def held(fake: Fake, program: str, call: str) -> str:
        assert both.wait(20)
        return right(fake, program, call)

    def queued(n: int) -> None:
        while opened.metrics()["queue"] + opened.metrics()["in_flight"] < n:
            time.sleep(0.005)

    opened, log = pool(held, workers=1)
    found: dict[int, list[Result]] = {}
    callers = [
        threading.Thread(target=lambda n=n: found.update({n: opened.run(adders(n))})) for n in (30, 40)
    ]
    with opened:
        for caller, n in zip(callers, (30, 70), strict=True):
            caller.start()
            queued(n)
        both.set()
        for caller in callers:
            caller.join(20)
        assert opened.metrics()["canaries"] == 2
    assert {n: [r.outputs for r in rs] for n, rs in found.items()} == {
        n: [(str(i + 1),) for i in range(n)] for n in (30, 40)
    }
    canaries = [at for at, (_, program) in enumerate(log) if "groups" in program]
    assert canaries == [30, 71]


def test_callers_that_take_turns_share_canaries() -> None:
    first = threading.Event()

    def held(fake: Fake, program: str, call: str) -> str:
        assert first.wait(20)
        return right(fake, program, call)

    opened, log = pool(held, workers=1)
    callers = [threading.Thread(target=opened.run, args=(adders(1),)) for _ in range(60)]
    with opened:
        for caller in callers:
            caller.start()
        while opened.metrics()["queue"] < 59:
            time.sleep(0.005)
        first.set()
        for caller in callers:
            caller.join(20)
        assert 6 <= opened.metrics()["canaries"] <= 7
    assert len(log) == 60 + opened.metrics()["canaries"]
