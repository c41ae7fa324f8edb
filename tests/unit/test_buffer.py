"""The task buffer: weights, draws, quotas, and that nothing is lost or changed by a stop at any moment."""

from __future__ import annotations

import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from azrl.buffer import TaskBuffer, Visit
from azrl.buffer.draws import distinct, draw, lowest, surplus
from azrl.buffer.weights import Weighting, learnability
from azrl.errors import UserError
from azrl.tasks.types import KINDS, Kind, Task


def make_task(number: int, kind: Kind = Kind.DEDUCTION, bin: int = 1, **fields) -> Task:
    program = f"def f(x):\n    return x + {number}"
    return Task(kind, program, ("1",), (f"{1 + number}",), bin=bin, **fields)


def fill(buffer: TaskBuffer, n: int, *, step: int = 0, first: int = 0) -> list[Task]:
    tasks = [make_task(i, KINDS[i % 3], 1 + i % 4) for i in range(first, first + n)]
    with buffer.transaction():
        for task in tasks:
            assert buffer.add(task, key=task.program, step=step)
    return tasks


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def buffer(tmp_path):
    with TaskBuffer(tmp_path / "buffer.sqlite", max_size=1000) as opened:
        yield opened


# Weights


@pytest.mark.parametrize(
    ("alpha", "beta", "expected"),
    [(1, 1, 1 / 6), (5, 5, 5 / 22), (9, 1, 9 / 110), (1, 9, 9 / 110), (2, 1, 1 / 6), (1e9, 1e9, 0.25)],
)
def test_learnability_by_hand(alpha, beta, expected):
    assert math.isclose(learnability(alpha, beta), expected, rel_tol=1e-8)


def test_learnability_is_the_mean_of_p_times_one_minus_p():
    p = rng().beta(3.2, 1.7, size=400_000)
    assert abs(learnability(3.2, 1.7) - (p * (1 - p)).mean()) < 5e-4


def test_posterior_by_hand():
    weighting = Weighting(decay=0.5)
    assert weighting.posterior(1, 1, 6, 8) == (7, 3)
    assert weighting.posterior(7, 3, 0, 8) == (1 + 0.5 * 6, 1 + 0.5 * 2 + 8)


def test_weight_by_hand():
    weighting = Weighting(novelty=0.5, freshness_steps=100)
    fresh, stale = weighting.log_weight(1, 1, 0, 500), weighting.log_weight(1, 1, 0, 300)
    assert math.isclose(math.exp(stale - fresh), 0.25)
    assert math.isclose(math.exp(weighting.log_weight(5, 5, 3, 500) - fresh), (5 / 22) * 6 / 2)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("decay", 0), ("decay", 1.1), ("novelty", -1), ("novelty", math.nan), ("freshness_steps", 0)],
)
def test_settings_out_of_range(tmp_path, setting, value):
    with pytest.raises(ValueError, match=setting):
        TaskBuffer(tmp_path / "b.sqlite", **{setting: value})
    assert not list(tmp_path.iterdir())


# Draws


def test_draw_follows_successive_sampling():
    """Golden: probability of each ordered pair is w_i/W x w_j/(W - w_i)."""
    weights = np.array([1.0, 2.0, 3.0, 6.0])
    generator, n = rng(), 40_000
    seen = Counter(tuple(draw(np.log(weights), 2, generator).tolist()) for _ in range(n))
    for i in range(4):
        for j in range(4):
            if i != j:
                expected = weights[i] / 12 * weights[j] / (12 - weights[i])
                assert abs(seen[i, j] / n - expected) < 5 * math.sqrt(expected / n)


@settings(deadline=None)
@given(
    logs=hnp.arrays(np.float64, st.integers(0, 60), elements=st.floats(-1e6, 1e6)),
    n=st.integers(0, 80),
    seed=st.integers(0, 1000),
)
def test_draw_never_repeats_and_never_runs_dry(logs, n, seed):
    drawn = draw(logs, n, rng(seed)).tolist()
    assert len(drawn) == len(set(drawn)) == min(n, len(logs))


@settings(deadline=None)
@given(labels=st.lists(st.integers(0, 5), max_size=40), k=st.integers(0, 8), seed=st.integers(0, 1000))
def test_distinct_takes_one_of_each_label(labels, k, seed):
    array = np.array(labels, dtype=np.int64)
    chosen = distinct(np.arange(len(labels)), array, k, rng(seed))
    taken = array[chosen].tolist()
    assert len(taken) == len(set(taken)) == min(k, len(set(labels)))


@given(
    values=hnp.arrays(np.float64, st.integers(0, 40), elements=st.integers(0, 5).map(float)),
    n=st.integers(0, 50),
)
def test_lowest_is_a_stable_sort(values, n):
    assert lowest(values, n).tolist() == sorted(np.argsort(values, kind="stable")[:n].tolist())


@given(data=st.data(), size=st.integers(1, 60))
def test_surplus_keeps_quotas_and_takes_the_lowest(data, size):
    count = data.draw(st.integers(0, 120))
    kinds = data.draw(hnp.arrays(np.int8, count, elements=st.integers(0, 2)))
    logs = data.draw(hnp.arrays(np.float64, count, elements=st.integers(0, 9).map(float)))
    gone = surplus(logs, kinds, size)
    assert len(gone) == max(0, count - size)
    kept = np.setdiff1d(np.arange(count), gone)
    if not len(gone):
        return
    share = size // len(np.unique(kinds))
    for kind in np.unique(kinds):
        before, after = int((kinds == kind).sum()), int((kinds[kept] == kind).sum())
        assert after >= min(before, share)
        if after > share:  # it could have given more, so all that it kept is worth no less than all that went
            assert logs[kept][kinds[kept] == kind].min() >= logs[gone].max()


# The buffer


def test_add_get_and_counts(buffer):
    task = make_task(7, Kind.INDUCTION, 3, message="caf\u00e9 \ud800 </script>", shown=1, parents=("p1",))
    assert buffer.add(task, key="k", signature="s", step=4)
    assert not buffer.add(task, key="k", signature="s", step=9)
    entry = buffer.get(task.id)
    assert entry.task == task
    assert (entry.key, entry.signature, entry.created_step, entry.visits) == ("k", "s", 4, 0)
    assert (entry.solve_rate, buffer.size(), buffer.counts()) == (0.5, 1, {(Kind.INDUCTION, 3): 1})
    assert buffer.get("0" * 16) is None


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


# Stopping and going on


def run_steps(buffer: TaskBuffer, steps: range) -> list[str]:
    """A miniature loop; what it drew."""
    drawn = []
    for step in steps:
        generator = np.random.default_rng([42, step])
        with buffer.transaction():
            fill(buffer, 7, step=step, first=1000 * step)
            practised = buffer.sample(n=5, rng=generator) + buffer.sample(
                Kind.DEDUCTION, 3, rng=generator, bins=[2]
            )
            drawn += [task.id for task in practised]
            drawn += [task.id for task in buffer.references(Kind.ABDUCTION, 3, rng=generator)]
            buffer.record([(task.id, int(generator.integers(9)), 8) for task in practised], step=step)
            buffer.evict()
    return drawn


def everything(path: Path) -> list[list[tuple]]:
    connection = sqlite3.connect(path)
    tables = [
        connection.execute(f"SELECT * FROM {name}").fetchall() for name in ("task", "visit", "fingerprint")
    ]
    connection.close()
    return tables


@pytest.mark.parametrize("stop", [1, 9, 20])
def test_a_restored_buffer_goes_on_to_the_bit(tmp_path, stop):
    whole = TaskBuffer(tmp_path / "whole.sqlite", max_size=60)
    expected = run_steps(whole, range(30))
    broken = TaskBuffer(tmp_path / "broken.sqlite", max_size=60)
    drawn = run_steps(broken, range(stop))
    broken.snapshot(tmp_path / "snapshot.sqlite")
    run_steps(broken, range(stop, stop + 3))  # lost: the run was killed before the next checkpoint
    broken.close()
    resumed = TaskBuffer.restore(tmp_path / "snapshot.sqlite", tmp_path / "broken.sqlite", max_size=60)
    drawn += run_steps(resumed, range(stop, 30))
    assert drawn == expected
    assert resumed.weights().tobytes() == whole.weights().tobytes()
    assert everything(resumed.path) == everything(whole.path)


def test_a_killed_process_loses_no_committed_step(tmp_path):
    path = tmp_path / "b.sqlite"
    abandoned = TaskBuffer(path)
    tasks = fill(abandoned, 10)
    abandoned.record([(tasks[0].id, 3, 8)], step=1)
    copies = tmp_path / "as_killed"
    copies.mkdir()
    for file in tmp_path.glob("b.sqlite*"):  # what a kill leaves: the file and its unmerged log
        (copies / file.name).write_bytes(file.read_bytes())
    with TaskBuffer(copies / "b.sqlite") as found:
        assert found.weights().tobytes() == abandoned.weights().tobytes()


SNAPSHOTS = """
import sys
from azrl.buffer import TaskBuffer
from azrl.tasks.types import Kind, Task
buffer = TaskBuffer(sys.argv[1])
print("ready", flush=True)
for step in range(10**6):
    with buffer.transaction():
        for i in range(50):
            program = f"def f(x):\\n    return {step * 50 + i}"
            buffer.add(Task(Kind.DEDUCTION, program, ("1",), ("1",)), key=program, step=step)
    buffer.snapshot(sys.argv[2])
"""


def test_a_snapshot_is_complete_or_absent_whenever_it_is_killed(tmp_path):
    chance = random.Random(0)
    snapshot = tmp_path / "snapshot.sqlite"
    sizes = []
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", SNAPSHOTS, str(tmp_path / "live.sqlite"), str(snapshot)],
            env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
            stdout=subprocess.PIPE,
        )
        process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.25))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if snapshot.exists():
            with TaskBuffer.restore(snapshot, tmp_path / "restored.sqlite") as restored:
                assert restored.size() % 50 == 0
                assert len(restored.sample(n=10, rng=rng())) == 10
                sizes.append(restored.size())
        for file in tmp_path.glob("live.sqlite*"):
            file.unlink()
    assert sizes, "no run lived long enough to write a snapshot"


# Files gone wrong


def test_files_that_are_not_ours(tmp_path):
    (tmp_path / "text.sqlite").write_text("not a database, but long enough to look like a file" * 50)
    with pytest.raises(UserError, match=r"text\.sqlite.*not a database"):
        TaskBuffer(tmp_path / "text.sqlite")
    foreign = sqlite3.connect(tmp_path / "foreign.sqlite")
    foreign.execute("CREATE TABLE cats (name TEXT)")
    foreign.close()
    before = (tmp_path / "foreign.sqlite").read_bytes()
    with pytest.raises(UserError, match=r"foreign\.sqlite.*something else"):
        TaskBuffer(tmp_path / "foreign.sqlite")
    assert (tmp_path / "foreign.sqlite").read_bytes() == before
    with pytest.raises(UserError, match="no folder"):
        TaskBuffer(tmp_path / "missing" / "b.sqlite")
    with pytest.raises(UserError, match="unable to open"):
        TaskBuffer(tmp_path)


def test_another_version_is_named(tmp_path):
    TaskBuffer(tmp_path / "b.sqlite").close()
    connection = sqlite3.connect(tmp_path / "b.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UserError, match="version 99"):
        TaskBuffer(tmp_path / "b.sqlite")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write to")
def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match=r"/proc/b\.sqlite"):
        TaskBuffer("/proc/b.sqlite")
    with TaskBuffer(tmp_path / "b.sqlite") as buffer, pytest.raises(UserError, match=r"/proc/s\.sqlite"):
        buffer.snapshot("/proc/s.sqlite")


@pytest.mark.parametrize("damage", ["cut", "scrambled", "missing", "foreign"])
def test_a_damaged_snapshot_is_refused_and_the_live_file_kept(tmp_path, buffer, damage):
    fill(buffer, 300)
    snapshot = tmp_path / "snapshot.sqlite"
    buffer.snapshot(snapshot)
    data = snapshot.read_bytes()
    if damage == "cut":
        snapshot.write_bytes(data[: len(data) // 2])
    elif damage == "scrambled":
        snapshot.write_bytes(data[:8192] + random.Random(0).randbytes(len(data) - 8192))
    elif damage == "missing":
        snapshot.unlink()
    else:
        snapshot.write_bytes(b"x" * 5000)
    buffer.close()
    with pytest.raises(UserError, match=r"snapshot\.sqlite"):
        TaskBuffer.restore(snapshot, buffer.path)
    with TaskBuffer(buffer.path) as kept:
        assert kept.size() == 300


def test_no_snapshot_of_half_a_step(tmp_path, buffer):
    with buffer.transaction(), pytest.raises(RuntimeError, match="half a step"):
        buffer.snapshot(tmp_path / "s.sqlite")


FULL = """
import resource, signal, sqlite3, sys
from azrl.buffer import TaskBuffer
from azrl.errors import UserError
from azrl.tasks.types import Kind, Task
path, snapshot = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
buffer = TaskBuffer(path)
def add(i):
    return buffer.add(Task(Kind.DEDUCTION, f"f{i}" + "x" * 500, ("1",), ("1",)), key=str(i), step=i)
with buffer.transaction():
    for i in range(400):
        add(i)
buffer.snapshot(snapshot)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for work in (lambda: buffer.snapshot(snapshot), lambda: [add(400 + i) for i in range(3000)]):
    try:
        work()
        print("no error")
    except UserError as error:
        print(error)
in_file = sqlite3.connect(path).execute("SELECT COUNT(*) FROM task").fetchone()[0]
print(buffer.size() == in_file >= 400, flush=True)
"""


def test_a_full_disk_is_told_and_loses_nothing(tmp_path):
    """A limit on file size stands for the full disk."""
    path, snapshot = tmp_path / "b.sqlite", tmp_path / "s.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(snapshot)],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    told = done.stdout.splitlines()
    assert told[0].startswith("cannot write a snapshot of the task buffer")
    assert told[1].startswith("cannot use the task buffer")
    assert told[2] == "True"
    assert not list(tmp_path.glob("*.part*"))
    with TaskBuffer.restore(snapshot, tmp_path / "back.sqlite") as restored:
        assert restored.size() == 400


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
