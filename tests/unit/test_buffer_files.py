"""The task buffer's files: nothing is lost or changed by a stop at any moment, a full disk or a damaged file."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from buffer_tasks import fill, rng

from azrl.buffer import TaskBuffer
from azrl.errors import UserError
from azrl.tasks.types import Kind


@pytest.fixture
def buffer(tmp_path):
    with TaskBuffer(tmp_path / "buffer.sqlite", max_size=1000) as opened:
        yield opened


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
