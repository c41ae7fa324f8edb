"""The run folder, its lock, metrics, rollouts, the clock, the display and stopping."""

import errno
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from azrl.config import Config, load_config
from azrl.errors import UserError
from azrl.runs import (
    Display,
    MetricsLog,
    PhaseClock,
    RolloutLog,
    RunFolder,
    StopFlag,
    open_log,
    read_metrics,
)
from azrl.runs.atomic import write_atomic
from azrl.runs.heartbeat import duration


def config_for(root: Path, name: str | None = "one", **run) -> Config:
    return Config.model_validate({"run": {"name": name, **run}, "paths": {"runs": str(root)}})


def test_a_new_run_folder_has_every_part_and_the_config_it_was_made_from(tmp_path):
    config = config_for(tmp_path / "runs", seed=7)
    with RunFolder.create(config) as run:
        assert run.path == tmp_path / "runs" / "one"
        assert run.rollouts.is_dir()
        assert run.checkpoints.is_dir()
        assert run.log.parent.is_dir()
        assert load_config([run.config]).config == config
        assert [p.name for p in run.path.parent.iterdir()] == ["one"]


def test_a_run_without_a_name_gets_one_from_the_preset_and_the_time_even_twice_a_second(tmp_path):
    config = config_for(tmp_path, name=None)
    names = [RunFolder.create(config, preset="cpu").name for _ in range(3)]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"cpu-\d{8}-\d{6}(-\d+)?", name) for name in names)


def test_a_used_name_is_refused_with_both_ways_out_and_nothing_is_changed(tmp_path):
    RunFolder.create(config_for(tmp_path)).close()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"'one' is used.*--resume .*one.*run\.name="):
        RunFolder.create(config_for(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_no_used_name(tmp_path):
    (tmp_path / "one").mkdir()
    with RunFolder.create(config_for(tmp_path)) as run:
        assert run.config.is_file()


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "-x", "", "a\nb", "x" * 101])
def test_a_name_that_is_no_plain_folder_name_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"run\.name"):
        RunFolder.create(config_for(tmp_path / "runs", name=name))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.ENOSPC, "disk is full"),
    ],
)
def test_a_disk_that_refuses_is_told_in_words_and_leaves_nothing(tmp_path, monkeypatch, code, words):
    def refuse(fd):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match=f"cannot make the run folder .*one: .*{words}"):
        RunFolder.create(config_for(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_runs_path_that_is_a_file_is_told(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="cannot make the run folder"):
        RunFolder.create(config_for(tmp_path / "runs"))


def test_opening_what_is_no_run_names_the_runs_beside_it(tmp_path):
    RunFolder.create(config_for(tmp_path)).close()
    with pytest.raises(UserError, match=r"two is not a run folder.*runs there: one"):
        RunFolder.open(tmp_path / "two")


HOLD = """
import sys, time
from azrl.runs import RunFolder
run = RunFolder.open(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_process_is_refused_by_the_first_ones_number_until_that_is_killed(tmp_path):
    RunFolder.create(config_for(tmp_path)).close()
    path = tmp_path / "one"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(UserError, match=f"written by process {holder.pid}"):
                RunFolder.open(path)
        finally:
            holder.kill()
    with RunFolder.open(path):
        pass


def test_writing_aside_leaves_the_old_content_when_the_disk_fills(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(fd):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_metrics_come_back_as_they_were_and_what_is_not_finite_is_left_out_loudly(tmp_path, caplog):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append(1, {"loss": 0.1 + 0.2, "tokens": 12, "bad": float("nan"), "worse": float("-inf")})
    log.append(2, {"loss": 1e-300})
    assert read_metrics(log.path) == [
        {"step": 1, "loss": 0.30000000000000004, "tokens": 12},
        {"step": 2, "loss": 1e-300},
    ]
    assert "bad is nan" in caplog.text
    assert "worse is -inf" in caplog.text


def test_a_torn_last_line_is_removed_on_opening_and_the_next_line_is_whole(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "x": 1}\n{"step": 2, "x"')
    assert [row["step"] for row in read_metrics(path)] == [1]
    MetricsLog(path).append(2, {"x": 2})
    assert path.read_bytes() == b'{"step": 1, "x": 1}\n{"step": 2, "x": 2}\n'
    assert "torn" in caplog.text


def test_cutting_back_keeps_earlier_lines_byte_for_byte_and_drops_garbage(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = b'{"step": 1,  "x": 1.0e0}\n'
    path.write_bytes(first + b"\0\0\0\n" + b'{"step": 2}\n' + b'{"step": 3}\n')
    log = MetricsLog(path)
    log.truncate(2)
    log.append(3, {"x": 3})
    log.close()
    assert path.read_bytes() == first + b'{"step": 2}\n' + b'{"step": 3, "x": 3}\n'


def test_a_full_disk_while_writing_metrics_is_told_in_words(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    with open("/dev/full", "ab") as full:
        os.dup2(full.fileno(), log._file.fileno())
    with pytest.raises(UserError, match=r"cannot write .*the disk is full"):
        log.append(1, {"x": 1})


def test_metrics_of_a_run_that_has_none_yet(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []


@given(st.lists(st.dictionaries(st.text(), st.text()), max_size=5))
def test_rollouts_read_back_whatever_the_model_wrote(tmp_path_factory, records):
    rollouts = RolloutLog(tmp_path_factory.mktemp("rollouts"))
    rollouts.write(3, records)
    assert rollouts.read(3) == records


def test_rollouts_are_readable_text_and_survive_lone_surrogates_and_odd_line_ends(tmp_path):
    rollouts = RolloutLog(tmp_path)
    records = [{"response": "naïve \ud800 \u2028 \x85 \r\n end"}, {"response": "二"}]
    path = rollouts.write(1, records)
    assert rollouts.read(1) == records
    assert "naïve" in path.read_text("utf-8")


def test_cutting_rollouts_back_removes_later_steps_only(tmp_path):
    rollouts = RolloutLog(tmp_path)
    for step in (1, 2, 10):
        rollouts.write(step, [])
    rollouts.truncate(2)
    assert rollouts.steps() == [1, 2]


def test_the_clock_splits_the_wall_time_of_a_step_by_phase():
    clock = PhaseClock()
    with clock.phase("generate"):
        time.sleep(0.02)
        assert clock.now.phase == "generate"
    with clock.phase("generate"):
        time.sleep(0.02)
    with clock.phase("update"):
        pass
    first, second = clock.lap(), clock.lap()
    assert all(name.startswith("time/") for name in first)
    assert 0.04 <= first["time/generate"] < first["time/wall"]
    spent = first["time/generate"] + first["time/update"] + first["time/other"]
    assert spent == pytest.approx(first["time/wall"])
    assert set(second) == {"time/wall", "time/other"}


def test_a_phase_inside_a_phase_is_a_mistake_and_a_failing_phase_ends():
    clock = PhaseClock()
    with (
        clock.phase("outer"),
        pytest.raises(RuntimeError, match=r"inner.*inside.*outer"),
        clock.phase("inner"),
    ):
        pass
    with pytest.raises(ValueError, match="boom"), clock.phase("failing"):
        raise ValueError("boom")
    with clock.phase("next"):
        pass


def test_the_clock_goes_on_from_a_saved_runs_seconds():
    saved = PhaseClock()
    saved.load_state_dict({"elapsed": 100.0})
    resumed = PhaseClock()
    resumed.load_state_dict(json.loads(json.dumps(saved.state_dict())))
    assert 100.0 <= resumed.elapsed < 105.0


METRICS = {
    "reward/solver/deduction": 0.5,
    "reward/solver/abduction": -0.25,
    "reward/proposer/deduction": -1.0,
    "solve_rate/deduction": 0.625,
    "gate/admitted": 31,
    "gate/duplicate": 7,
    "gate/parse": 0,
    "probe/greedy": 0.25,
    "entropy": 0.5,
    "time/tokens_per_s": 1234.5,
}


def plain_console() -> Console:
    return Console(file=io.StringIO(), width=60)


def display(console: Console, **options) -> Display:
    defaults = {"steps": 3, "heartbeat_s": 60.0, "stall_s": 60.0}
    return Display(console=console, **(defaults | options))


def test_off_a_terminal_each_step_is_one_plain_line():
    console = plain_console()
    with display(console) as shown:
        shown.show(1, METRICS)
    [text] = console.file.getvalue().splitlines()
    assert text.startswith("step 1/3 | reward solver +0.12 proposer -1.00 | solved deduction 0.62 ")
    assert "gate admitted 31 duplicate 7 |" in text
    assert "probe greedy 0.250" in text
    assert "1234 tok/s" in text


def test_fast_steps_do_not_flood_but_the_last_is_always_told():
    console = plain_console()
    with display(console, steps=500) as shown:
        for step in range(1, 501):
            shown.show(step, {})
    lines = console.file.getvalue().splitlines()
    assert len(lines) <= 5
    assert lines[0].startswith("step 1/500")
    assert lines[-1].startswith("step 500/500")


def test_a_terminal_gets_a_live_panel_with_table_gate_and_alarms():
    console = Console(file=io.StringIO(), force_terminal=True, width=120, _environ={"TERM": "xterm"})
    with display(console) as shown, shown.phase("update"):
        shown.show(2, METRICS)
        shown.alarm("unique_rate 0.4 is below 0.6")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert "step 2/3" in text
    assert "update" in text
    assert re.search(r"deduction +\+0\.50 +-1\.00 +0\.62", text)
    assert re.search(r"abduction +-0\.25 +- +-", text)
    assert "alarm: unique_rate 0.4 is below 0.6" in text


def test_time_left_follows_the_steps_or_the_time_limit_whichever_ends_first():
    with display(plain_console(), steps=11) as shown:
        assert shown.status().eta_s is None
        time.sleep(0.05)
        shown.show(1, {})
        assert 0.5 <= shown.status().eta_s < 5.0
    with display(plain_console(), steps=11, time_limit_s=0.1) as shown:
        time.sleep(0.05)
        shown.show(1, {})
        status = shown.status()
        assert status.eta_s <= 0.05
        assert status.share >= 0.5
    with display(plain_console(), steps=1000, time_limit_s=100.0) as resumed:
        resumed.go_on(10, 60.0)
        assert resumed.status().step == 10
        assert 39.0 < resumed.status().eta_s <= 40.0


def test_the_heartbeat_names_step_and_phase_and_warns_once_of_each_stall(caplog):
    caplog.set_level(logging.INFO, logger="azrl")
    with display(plain_console(), steps=12, heartbeat_s=0.02, stall_s=0.08) as shown:
        shown.go_on(4, 0.0)
        with shown.phase("update"):
            time.sleep(0.3)
        with shown.phase("generate"):
            time.sleep(0.04)
    beats = [r.message for r in caplog.records if "heartbeat" in r.message]
    stalls = [r.message for r in caplog.records if "stalled" in r.message]
    assert len(beats) >= 3
    assert re.fullmatch(r"heartbeat step 4/12 phase=update \d\.\ds eta \?", beats[0])
    assert len(stalls) == 1
    assert stalls[0].startswith("phase update of step 4")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"), (0.4, "0s"), (59.7, "1m00s"), (250, "4m10s"), (7500, "2h05m"), (273600, "3d04h"),
    ],
)  # fmt: skip
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def test_the_log_goes_to_the_file_and_screen_and_cannot_steer_a_terminal(tmp_path):
    console = plain_console()
    logger = logging.getLogger("azrl.test")
    with open_log(tmp_path / "run.log", "INFO", console):
        logger.info("answer [bold]:smile: \x1b[31mred\x9b \ud800 " + "long " * 30)
        logger.debug("unseen")
    logger.info("after")
    text = (tmp_path / "run.log").read_text()
    assert "[bold]:smile: \\x1b[31mred\\x9b \\ud800 long" in text
    assert "unseen" not in text
    assert "after" not in text
    assert "\x1b" not in console.file.getvalue()
    assert console.file.getvalue().count("\n") == 1


def test_a_log_on_a_full_disk_is_given_up_once_and_the_run_goes_on():
    console = plain_console()
    with open_log(Path("/dev/full"), "INFO", console):
        for n in range(3):
            logging.getLogger("azrl.test").info("message %d", n)
    text = console.file.getvalue()
    assert text.count("cannot be written any more") == 1
    assert all(f"message {n}" in text for n in range(3))


@pytest.mark.parametrize(
    ("number", "code", "second"),
    [(signal.SIGINT, 130, KeyboardInterrupt), (signal.SIGTERM, 143, SystemExit)],
)
def test_the_first_signal_asks_and_the_second_orders(number, code, second, capfd):
    before = signal.getsignal(number)
    with StopFlag() as stop:
        assert not stop
        assert stop.exit_code == 0
        signal.raise_signal(number)
        assert stop
        assert stop.exit_code == code
        with pytest.raises(second):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before
    assert "once more to stop at once" in capfd.readouterr().err
