"""The pool over scripted servers that take jobs ahead: order, canaries, and what becomes of a whole line."""

from __future__ import annotations

import os

from test_pool import Answer, Fake, adders, right

from azrl.executor import Status
from azrl.executor.crew import PoolSettings
from azrl.executor.pooled import PooledExecutor
from azrl.executor.server import ServerLost
from azrl.executor.wire import Ended


class Ahead(Fake):
    """Takes eight jobs ahead, and answers when the last of those that come together is there. Counts how many it
    had at once."""

    window = 8

    def begin(self) -> None:
        super().begin()
        self.line: list[tuple[Ended, bool]] = []
        self.most = 0

    def submit(self, request: bytes, payload: bytes, cap: int, more: bool = False) -> None:
        super().submit(request, payload, cap)
        os.eventfd_read(self._fd)
        assert self._ended is not None
        self.line.append((self._ended, self._lost))
        self.most = max(self.most, len(self.line))
        if not more:
            os.eventfd_write(self._fd, 1)

    def receive(self) -> Ended | None:
        if not self.line:
            os.eventfd_read(self._fd)
            return None
        ended, lost = self.line.pop(0)
        if lost:
            raise ServerLost("scripted")
        return ended


def pool_ahead(answer: Answer, **settings: int) -> tuple[PooledExecutor, list[Ahead], list[tuple[int, str]]]:
    made: list[Ahead] = []
    log: list[tuple[int, str]] = []

    def launch(variant: int, slot: int) -> Ahead:
        made.append(Ahead(variant, slot, answer, log))
        return made[-1]

    return PooledExecutor(launch, PoolSettings(1, **settings)), made, log


def test_jobs_given_ahead_have_one_result_each_in_order() -> None:
    opened, made, log = pool_ahead(right, canary_every=10)
    with opened:
        assert [r.outputs for r in opened.run(adders(300))] == [(str(i + 1),) for i in range(300)]
        assert (opened.metrics()["queue"], opened.metrics()["in_flight"]) == (0, 0)
    assert made[0].most == 8
    since, runs = 0, []
    for _, program in log:
        canary = "return x + " not in program
        runs += [since] if canary else []
        since = 0 if canary else since + 1
    assert since == 0
    assert max(runs) == 10


def test_a_loss_runs_all_that_was_ahead_once_more_and_only_the_culprit_twice() -> None:
    opened, _, log = pool_ahead(
        lambda fake, program, call: None if "+ 20" in program else right(fake, program, call)
    )
    with opened:
        results = opened.run(adders(40))
        metrics = opened.metrics()
    assert [i for i, r in enumerate(results) if r.status is not Status.OK] == [20]
    assert (results[20].status, results[20].error) == (Status.INFRA, "server_lost")
    assert metrics["infra"] == 1
    runs = [sum(f"return x + {i}" == program.split("    ")[-1] for _, program in log) for i in range(40)]
    assert set(runs) == {1, 2}
    assert runs[20] == 2


def test_a_wrong_canary_takes_back_what_was_ahead_of_it_and_behind() -> None:
    def liar(fake: Fake, program: str, call: str) -> str:
        return "0" if fake.starts == 1 else right(fake, program, call)

    opened, _, _ = pool_ahead(liar, canary_every=5)
    with opened:
        assert [r.outputs for r in opened.run(adders(40))] == [(str(i + 1),) for i in range(40)]
        assert opened.metrics()["canaries_wrong"] == 1
