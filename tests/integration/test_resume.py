"""Whatever happens to a run, it resumes to the same numbers."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from runs_cli import cli, done, logged, metrics, outcome, start, wait_until

NEW = ("--config", "c.yaml", "--name", "one")


def test_a_run_is_reproducible_to_the_bit(place: Path, reference: dict[str, Any]) -> None:
    done(place, *NEW)
    assert outcome(place / "runs" / "one") == reference
    assert [row["step"] for row in reference["metrics"]] == list(range(9))
    assert "probe/sampled" in reference["metrics"][3]
    done(place, "--config", "c.yaml", "--name", "two", "--seed", "4")
    assert metrics(place / "runs" / "two") != reference["metrics"]


@pytest.mark.parametrize("moment", range(20))
def test_a_run_that_is_killed_at_any_moment_resumes_to_the_same_numbers(
    place: Path, reference: dict[str, Any], moment: int
) -> None:
    """Moments 0 and 1 fall anywhere in the start and the seeding, every fourth into a checkpoint's writing,
    the others somewhere in a random step."""
    rng = random.Random(moment)
    run = place / "runs" / "one"
    process = start(place, *NEW)
    lines = 0 if moment < 2 else rng.randint(1, 8)
    there = wait_until(lambda: run.is_dir() and logged(run) >= lines, process)
    if moment % 4 == 3:
        wait_until(lambda: any((run / "checkpoints").glob(".tmp-*")), process)
    else:
        time.sleep(rng.uniform(0.0, 0.6 if moment < 2 else 0.08))
    alive = process.poll() is None
    process.kill()
    process.communicate()
    assert there
    assert alive or lines >= 6, "the run was over before it could be killed"
    resumed = cli(place, "--resume", "one")
    assert (resumed.returncode, "Traceback" in resumed.stderr) == (0, False), resumed.stderr
    assert outcome(run) == reference


def test_a_run_that_is_killed_again_and_again_ends_the_same(place: Path, reference: dict[str, Any]) -> None:
    rng = random.Random(0)
    run = place / "runs" / "one"
    words = NEW
    for _ in range(5):
        process = start(place, *words)
        before = logged(run)
        wait_until(lambda: logged(run) != before, process)  # noqa: B023
        time.sleep(rng.uniform(0.0, 0.1))
        process.kill()
        process.communicate()
        words = ("--resume",)
    done(place, "--resume")
    assert outcome(run) == reference


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("after", [1, 3])
def test_a_signal_saves_and_leaves_with_its_code(
    place: Path, reference: dict[str, Any], number: signal.Signals, code: int, after: int
) -> None:
    """`after` 3: the signal comes about when a probe is due."""
    run = place / "runs" / "one"
    process = start(place, *NEW)
    assert wait_until(lambda: logged(run) >= after, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (code, False)
    assert "with a checkpoint" in errors
    steps = metrics(run)[-1]["step"]
    assert steps < 8
    assert (run / "checkpoints" / f"step_{steps}").is_dir()
    done(place, "--resume", "one")
    result = outcome(run)
    assert result.pop("checkpoints")
    assert result == {k: v for k, v in reference.items() if k != "checkpoints"}


def test_a_second_signal_stops_at_once_and_loses_nothing(place: Path, reference: dict[str, Any]) -> None:
    run = place / "runs" / "one"
    process = start(place, *NEW, "probe.items=1000", "probe.samples=8", "probe.interval=8")
    assert wait_until(lambda: run.is_dir() and (run / "buffer.sqlite").exists(), process)
    time.sleep(0.2)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (130, False), errors
    done(place, "--resume", "one", "probe.items=8", "probe.samples=2", "probe.interval=3")
    assert outcome(run) == reference


def test_a_run_may_be_resumed_by_step_by_name_and_by_folder(place: Path, reference: dict[str, Any]) -> None:
    run = place / "runs" / "one"
    done(place, *NEW)
    done(place, "--resume", "4")
    assert outcome(run) == reference
    (run / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes() + b'{"step": 9, "torn')
    done(place, "--resume", str(run))
    assert outcome(run) == reference
    wrong = cli(place, "--resume", "5")
    assert wrong.returncode == 2
    assert "no checkpoint of step 5" in wrong.stderr
    assert "there are: 4, 6, 8" in wrong.stderr
    assert outcome(run) == reference


def test_a_finished_run_resumed_with_the_same_target_does_nothing(
    place: Path, reference: dict[str, Any]
) -> None:
    done(place, *NEW)
    before = (place / "runs" / "one" / "metrics.jsonl").read_bytes()
    done(place, "--resume", "one")
    done(place, "--resume", "one", "--iterations", "5")
    assert (place / "runs" / "one" / "metrics.jsonl").read_bytes() == before
    assert outcome(place / "runs" / "one") == reference


def test_iterations_is_the_absolute_target(place: Path, reference: dict[str, Any]) -> None:
    done(place, *NEW, "--iterations", "3")
    assert logged(place / "runs" / "one") == 4
    done(place, "--resume", "one", "--iterations", "8")
    result = outcome(place / "runs" / "one")
    assert result["metrics"] == reference["metrics"]
    assert result["buffer"] == reference["buffer"]


def test_a_new_run_starts_from_a_checkpoint_even_when_it_is_killed_first(
    place: Path, reference: dict[str, Any], reference_run: Path
) -> None:
    given = str(reference_run / "checkpoints" / "step_4")
    done(place, *NEW, "--checkpoint", given)
    assert metrics(place / "runs" / "one") == reference["metrics"][5:]
    assert outcome(place / "runs" / "one")["buffer"] == reference["buffer"]

    second = place / "runs" / "two"
    process = start(place, "--config", "c.yaml", "--name", "two", "--checkpoint", given)
    assert wait_until(second.is_dir, process)
    process.kill()
    process.communicate()
    assert not any((second / "checkpoints").glob("step_*"))
    done(place, "--resume", "two")
    assert metrics(second) == reference["metrics"][5:]

    done(
        place,
        "--config",
        "c.yaml",
        "--name",
        "three",
        "--checkpoint",
        str(reference_run),
        "--iterations",
        "9",
    )
    assert [row["step"] for row in metrics(place / "runs" / "three")] == [9]


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("file", ["state.json", "buffer.sqlite", "model/skill.json", "MANIFEST.json"])
def test_of_a_damaged_checkpoint_it_is_said_and_the_one_before_is_used(
    place: Path, reference: dict[str, Any], file: str
) -> None:
    run = place / "runs" / "one"
    done(place, *NEW, "--iterations", "6", "probe.at_end=false")
    flip(run / "checkpoints" / "step_6" / file)
    asked = cli(place, "--resume", "6")
    assert (asked.returncode, "Traceback" in asked.stderr) == (2, False)
    assert "step_6 is damaged" in asked.stderr
    resumed = done(place, "--resume", "one", "--iterations", "8", "probe.at_end=true")
    said = " ".join((resumed.stdout + resumed.stderr).split())
    assert "step_6 is damaged" in said
    assert "trying the one before it" in said
    assert outcome(run) == reference


def test_a_run_without_a_whole_checkpoint_starts_again(place: Path, reference: dict[str, Any]) -> None:
    run = place / "runs" / "one"
    done(place, *NEW, "--iterations", "4", "probe.at_end=false")
    for saved in (run / "checkpoints").iterdir():
        flip(saved / "state.json")
    resumed = done(place, "--resume", "one", "--iterations", "8", "probe.at_end=true")
    assert "starts again from step 0" in " ".join(resumed.stdout.split())
    assert outcome(run) == reference


def test_a_checkpoint_that_does_not_fit_is_refused_and_nothing_is_lost(
    place: Path, reference: dict[str, Any]
) -> None:
    run = place / "runs" / "one"
    done(place, *NEW)
    wrong = cli(place, "--resume", "4", "tasks.kinds=[deduction]")
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (2, False)
    assert "does not fit this configuration" in wrong.stderr
    assert {**outcome(run), "buffer": None} == {**reference, "buffer": None}
    done(place, "--resume", "one")
    assert outcome(run) == reference
