"""The task buffer: what it keeps, gives, learns and evicts."""

from __future__ import annotations

import math
import time
from collections import Counter

import pytest
from buffer_tasks import fill, make_task, rng

from azrl.buffer import TaskBuffer, Visit
from azrl.buffer.weights import learnability
from azrl.tasks.types import KINDS, Kind


@pytest.fixture
def buffer(tmp_path):
    with TaskBuffer(tmp_path / "buffer.sqlite", max_size=1000) as opened:
        yield opened


def test_add_get_and_counts(buffer):
    task = make_task(7, Kind.INDUCTION, 3, message="caf\u00e9 \ud800 </script>", shown=1, parents=("p1",))
    assert buffer.add(task, key="k", signature="s", step=4)
    assert not buffer.add(task, key="k", signature="s", step=9)
    entry = buffer.get(task.id)
    assert entry.task == task
    assert (entry.key, entry.signature, entry.created_step, entry.visits) == ("k", "s", 4, 0)
    assert (entry.solve_rate, buffer.size(), buffer.counts()) == (0.5, 1, {(Kind.INDUCTION, 3): 1})
    assert buffer.get("0" * 16) is None


def test_sharing_counts_the_tasks_of_a_program_that_are_here(tmp_path):
    with TaskBuffer(tmp_path / "small.sqlite", max_size=2) as buffer:
        for number, key in enumerate(("p", "p", "q")):
            buffer.add(make_task(number, Kind.DEDUCTION, 1), key=key, step=number)
        assert [buffer.sharing(key) for key in "pqr"] == [2, 1, 0]
        assert buffer.evict() == 1
        assert [buffer.sharing(key) for key in "pqr"] == [1, 1, 0]  # the oldest went
        with TaskBuffer(buffer.path) as same:
            assert same.sharing("p") == 1


def test_an_empty_buffer_gives_nothing(buffer):
    assert buffer.sample(n=4, rng=rng()) == []
    assert buffer.references(Kind.DEDUCTION, 4, rng=rng()) == []
    assert (buffer.size(), buffer.counts(), buffer.evict()) == (0, {}, 0)
    assert buffer.weights().tolist() == []
    assert buffer.histogram(2) == {kind: [0, 0] for kind in KINDS}


def test_sample_keeps_to_kind_and_bins(buffer):
    tasks = fill(buffer, 120)
    drawn = buffer.sample(Kind.ABDUCTION, 999, rng=rng(), bins={2, 3})
    expected = {t.id for t in tasks if t.kind is Kind.ABDUCTION and t.bin in (2, 3)}
    assert {t.id for t in drawn} == expected
    assert len(drawn) == len(expected) == 20
    assert len({t.id for t in buffer.sample(n=50, rng=rng())}) == 50


def test_sampling_follows_what_record_learned(buffer):
    hopeless, frontier, unseen = fill(buffer, 3)
    for step in range(1, 6):
        buffer.record([(hopeless.id, 0, 8), (frontier.id, 4, 8)], step=step)
    with TaskBuffer(buffer.path) as same:
        assert same.weights().tolist() == buffer.weights().tolist()
    # After 5 visits of 8 at decay .8 the evidence is 8 (1 - .8^5) / .2 = 26.8928 attempts.
    n = 26.8928
    expected = ((1 + n / 2) ** 2) / (1 * (1 + n))
    weights = buffer.weights()
    assert math.isclose(weights[1] / weights[0], expected, rel_tol=1e-9)
    ratio = learnability(1 + n / 2, 1 + n / 2) * 6 / math.sqrt(6) * 2 ** (5 / 200)
    assert math.isclose(weights[1] / weights[2], ratio, rel_tol=1e-9)
    assert buffer.history(hopeless.id)[1] == Visit(2, 0, 8)
    assert buffer.history(unseen.id) == []
    firsts = Counter(buffer.sample(rng=generator)[0].id for generator in map(rng, range(2000)))
    assert abs(firsts[frontier.id] / 2000 - weights[1]) < 5 * math.sqrt(0.25 / 2000)


def test_references_are_uniform_over_tasks_and_distinct_in_program(buffer):
    for number in range(6):
        buffer.add(make_task(number), key=f"program {number % 3}", step=0)
        buffer.add(make_task(number, Kind.ABDUCTION), key=f"program {number % 3}", step=0)
    buffer.record([(make_task(0).id, 4, 8)], step=99)
    firsts: Counter[str] = Counter()
    for seed in range(1200):
        shown = buffer.references(Kind.DEDUCTION, 2, rng=rng(seed))
        assert {task.kind for task in shown} == {Kind.DEDUCTION}
        assert len({buffer.get(task.id).key for task in shown}) == 2
        firsts[shown[0].id] += 1
    assert len(firsts) == 6
    assert max(abs(count / 1200 - 1 / 6) for count in firsts.values()) < 5 * math.sqrt(5 / 36 / 1200)
    assert len(buffer.references(None, 99, rng=rng())) == 3


def test_record_is_all_or_none(buffer):
    task = fill(buffer, 1)[0]
    for outcomes, error in [
        ([(task.id, 1, 8), ("missing", 1, 8)], KeyError),
        ([(task.id, 1, 8), (task.id, 9, 8)], ValueError),
        ([(task.id, 1, 8), (task.id, -1, 8)], ValueError),
    ]:
        with pytest.raises(error):
            buffer.record(outcomes, step=1)
        assert buffer.get(task.id).visits == 0
        assert buffer.history(task.id) == []
        assert buffer.weights().tolist() == [1.0]
    buffer.record([(task.id, 0, 0)], step=1)
    assert buffer.get(task.id).visits == 0


def test_a_transaction_that_fails_leaves_no_trace(buffer):
    tasks = fill(buffer, 30)
    buffer.record([(tasks[3].id, 2, 8)], step=1)
    before = (buffer.weights().tolist(), buffer.counts(), buffer.histogram())

    def interrupted_step():
        with buffer.transaction():
            fill(buffer, 5, first=100)
            buffer.record([(tasks[4].id, 8, 8)], step=2)
            buffer.remember(["fp"])
            buffer.max_size = 20
            buffer.evict()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_step()
    assert (buffer.weights().tolist(), buffer.counts(), buffer.histogram()) == before
    assert not buffer.known("fp")
    assert buffer.get(tasks[4].id).visits == 0


def test_known_outlives_eviction(buffer):
    buffer.add(make_task(1), key="k", step=0, fingerprints=["text:1", "ast:\ud800"])
    assert buffer.known("text:1")
    assert buffer.known("ast:\ud800")
    assert not buffer.known("text:2")
    fill(buffer, 5, step=500, first=10)
    buffer.max_size = 5
    assert buffer.evict() == 1
    assert buffer.get(make_task(1).id) is None
    assert buffer.known("text:1")


def test_eviction_prefers_low_weight_to_old_age(buffer):
    tasks = [make_task(i) for i in range(10)]
    for step, task in enumerate(tasks):
        buffer.add(task, key=task.program, step=step)
    for step in range(10, 13):
        buffer.record([(tasks[0].id, 4, 8), (tasks[9].id, 8, 8)], step=step)
    buffer.max_size = 9
    assert buffer.evict() == 1
    assert buffer.get(tasks[9].id) is None  # mastered, though the newest
    assert buffer.get(tasks[0].id) is not None  # the oldest, and learnable
    assert buffer.history(tasks[9].id) == []


def test_eviction_keeps_a_kind_that_is_rare(buffer):
    for number in range(60):
        buffer.add(make_task(number), key=str(number), step=100)
    rare = [make_task(number, Kind.ABDUCTION) for number in range(5)]
    for task in rare:
        buffer.add(task, key=task.program, step=0)
    buffer.max_size = 20
    buffer.evict()
    assert Counter(kind for (kind, _), n in buffer.counts().items() for _ in range(n)) == {
        Kind.DEDUCTION: 15,
        Kind.ABDUCTION: 5,
    }


def test_histogram_by_hand(buffer):
    tasks = fill(buffer, 3)
    buffer.record([(tasks[0].id, 8, 8), (tasks[1].id, 0, 8)], step=1)  # means .9, .1; the third stays at .5
    assert buffer.histogram(4) == {
        Kind.ABDUCTION: [0, 0, 0, 1],
        Kind.DEDUCTION: [1, 0, 0, 0],
        Kind.INDUCTION: [0, 0, 1, 0],
    }


@pytest.mark.slow
def test_a_step_takes_no_longer_with_100_000_tasks(tmp_path):
    with TaskBuffer(tmp_path / "b.sqlite", max_size=100_000) as buffer:
        fill(buffer, 100_000)
        times = []
        for step in range(1, 22):
            start = time.process_time()  # the machine may be busy with others
            fill(buffer, 32, step=step, first=10**6 * step)
            generator = rng(step)
            practised = buffer.sample(n=16, rng=generator)
            for kind in KINDS:
                buffer.references(kind, 2, rng=generator)
            buffer.record([(task.id, 4, 8) for task in practised], step=step)
            assert buffer.evict() == 32
            times.append(time.process_time() - start)
    assert sorted(times)[len(times) // 2] < 0.05
