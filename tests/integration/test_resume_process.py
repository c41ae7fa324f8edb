"""Resuming with real worker processes, and when the disk is full."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from runs_cli import command, done, environment, logged, outcome, start, wait_until

NEW = ("--config", "c.yaml", "--name", "one", "executor.backend=process")


def descendants(pid: int) -> list[int]:
    """All processes below `pid`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found += [int(folder.name), *descendants(int(folder.name))]
    return found


def gone(pids: list[int], patience_s: float = 20.0) -> bool:
    """Whether all of them end in time; a zombie has ended."""
    deadline = time.monotonic() + patience_s
    while any(_runs(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_both_executors_lead_to_the_same_run(place: Path, reference: dict[str, Any]) -> None:
    done(place, *NEW)
    assert outcome(place / "runs" / "one") == reference


@pytest.mark.parametrize("moment", range(3))
def test_a_kill_leaves_no_worker_behind_and_the_run_resumes(
    place: Path, reference: dict[str, Any], moment: int
) -> None:
    run = place / "runs" / "one"
    process = start(place, *NEW)
    assert wait_until(lambda: logged(run) > 2 * moment, process)
    time.sleep(random.Random(moment).uniform(0.0, 0.05))
    workers = descendants(process.pid)
    process.kill()
    process.communicate()
    assert workers
    assert gone(workers)
    done(place, "--resume", "one")
    assert outcome(run) == reference


def test_an_interrupt_from_the_keyboard_reaches_the_workers_too_and_harms_nothing(
    place: Path, reference: dict[str, Any]
) -> None:
    run = place / "runs" / "one"
    process = start(place, *NEW)
    assert wait_until(lambda: logged(run) >= 2, process)
    workers = descendants(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (130, False), errors
    assert gone(workers)
    done(place, "--resume", "one")
    result = outcome(run)
    assert {**result, "checkpoints": None} == {**reference, "checkpoints": None}


FILL_UP = """
mount -t tmpfs -o size=16m tmpfs disk && cd disk && cp ../c.yaml . || exit 99
"$@" --config c.yaml --name one > ../out 2> ../err & run=$!
until [ -d runs/one/checkpoints/step_2 ] || ! kill -0 $run; do sleep 0.005; done
cat /dev/zero > filler 2> /dev/null
wait $run; echo $? > ../code
ls -A runs/one/checkpoints > ../left
"$@" --resume one > ../out2 2> ../err2; echo $? > ../code2
rm filler
"$@" --resume one > ../out3 2> ../err3; echo $? > ../code3
cp -r runs ../runs
"""

NO_ROOM = """
mount -t tmpfs -o size=48k tmpfs disk && cd disk && cp ../c.yaml . || exit 99
"$@" --config c.yaml --name one > ../out 2> ../err; echo $? > ../code
ls -A runs > ../left
"""


def in_a_small_disk(place: Path, script: str) -> None:
    """Run a shell script in a mount namespace of its own; `"$@"` in it is `python main.py`."""
    (place / "disk").mkdir()
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *command()]
    try:
        ended = subprocess.run(
            words, cwd=place, env=environment(), capture_output=True, text=True, timeout=200, check=False
        )
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if not (place / "code").exists():
        pytest.skip(f"no small disk can be mounted here: {ended.stderr.strip()}")


def said(place: Path, name: str) -> str:
    return (place / name).read_text()


def test_a_full_disk_is_said_and_the_run_resumes_from_the_checkpoint_before(
    place: Path, reference: dict[str, Any]
) -> None:
    in_a_small_disk(place, FILL_UP)
    assert said(place, "code") == "2\n", said(place, "err") + said(place, "out")
    assert "Traceback" not in said(place, "err")
    assert "full" in said(place, "err")
    assert "step_2\n" in said(place, "left")
    assert ".tmp" not in said(place, "left")
    assert said(place, "code2") == "2\n", said(place, "err2") + said(place, "out2")
    assert "Traceback" not in said(place, "err2")
    assert "full" in said(place, "err2") or "No space left" in said(place, "err2")
    assert said(place, "code3") == "0\n", said(place, "err3")
    assert outcome(place / "runs" / "one") == reference


def test_a_disk_without_room_for_a_run_is_said_and_no_half_of_one_is_left(place: Path) -> None:
    in_a_small_disk(place, NO_ROOM)
    assert said(place, "code") == "2\n", said(place, "err")
    assert "Traceback" not in said(place, "err")
    assert "full" in said(place, "err")
    assert said(place, "left") == ""
