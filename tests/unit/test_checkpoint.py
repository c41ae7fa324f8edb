"""Checkpoints: complete or absent, verified before use, pruned only once the next one stands."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from azrl.runs import CheckpointError, CheckpointStore, read_meta


def writer(text: str):
    def write(folder: Path) -> None:
        (folder / "model").mkdir()
        (folder / "model" / "weights.bin").write_bytes(text.encode() * 1000)
        (folder / "state.json").write_text(text)

    return write


def store(folder: Path, *steps: int, keep: int = 3) -> CheckpointStore:
    made = CheckpointStore(folder / "checkpoints", keep)
    for step in steps:
        made.save(step, writer(f"s{step}"), {"rng": [step]})
    return made


def names(made: CheckpointStore) -> list[str]:
    return sorted(path.name for path in made.folder.iterdir())


def test_a_checkpoint_comes_back_with_its_files_and_meta(tmp_path):
    made = store(tmp_path, 5)
    step, path = made.latest()
    assert (step, path) == (5, made.folder / "step_5")
    assert (path / "state.json").read_text() == "s5"
    assert read_meta(path) == {"rng": [5]}
    assert made.at(5) == path


def test_a_fresh_run_has_none(tmp_path):
    assert store(tmp_path).latest() is None


def test_only_the_newest_are_kept_by_number_not_by_name(tmp_path):
    assert names(store(tmp_path, 8, 9, 10, 100, keep=2)) == ["step_10", "step_100"]


def test_the_one_just_saved_is_never_pruned(tmp_path):
    made = store(tmp_path, 10, 20, keep=1)
    assert names(made) == ["step_20"]
    made.save(5, writer("s5"), {})
    assert "step_5" in names(made)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGES = {
    "one bit flipped": (lambda p: flip(p / "model" / "weights.bin"), "model/weights.bin has changed content"),
    "cut short": (lambda p: os.truncate(p / "state.json", 1), "state.json has 1 bytes, not 2"),
    "file lost": (lambda p: (p / "state.json").unlink(), "state.json is missing"),
    "no manifest": (lambda p: (p / "MANIFEST.json").unlink(), "MANIFEST.json is missing"),
    "half a manifest": (lambda p: os.truncate(p / "MANIFEST.json", 30), "MANIFEST.json cannot be read"),
    "odd manifest": (
        lambda p: (p / "MANIFEST.json").write_text('{"files": 3}'),
        "MANIFEST.json cannot be read",
    ),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_is_used(tmp_path, caplog, kind):
    made = store(tmp_path, 1, 2)
    act, words = DAMAGES[kind]
    act(made.folder / "step_2")
    assert made.latest() == (1, made.folder / "step_1")
    assert f"step_2 is damaged ({words})" in caplog.text
    with pytest.raises(CheckpointError, match="step_2 is damaged"):
        made.at(2)


def test_a_step_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 7 .*there are: 1, 2"):
        store(tmp_path, 1, 2).at(7)


def full_disk(folder: Path) -> None:
    (folder / "half").write_bytes(b"x")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_nothing_of_this_one_and_all_of_the_others(tmp_path):
    made = store(tmp_path, 1, 2, keep=2)
    with pytest.raises(CheckpointError, match="step 3 not written: the disk is full"):
        made.save(3, full_disk, {})
    assert names(made) == ["step_1", "step_2"]
    assert made.latest()[0] == 2


def test_a_library_that_hides_the_full_disk_in_an_error_of_its_own_is_seen_through(tmp_path, monkeypatch):
    made = store(tmp_path, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 0}))

    def write(folder: Path) -> None:
        raise RuntimeError("iostream error")

    with pytest.raises(CheckpointError, match="disk is full"):
        made.save(2, write, {})


def test_a_mistake_in_the_writer_is_not_taken_for_a_disk_error(tmp_path):
    made = store(tmp_path, 1)

    def write(folder: Path) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        made.save(2, write, {})
    assert names(made) == ["step_1"]


def test_saving_a_step_again_replaces_it_whole(tmp_path):
    made = store(tmp_path, 1)
    made.save(1, writer("again"), {"second": True})
    assert (made.at(1) / "state.json").read_text() == "again"
    assert read_meta(made.at(1)) == {"second": True}
    assert names(made) == ["step_1"]


def test_a_replacement_cut_in_the_middle_is_undone_on_opening(tmp_path):
    made = store(tmp_path, 1)
    (made.folder / "step_1").rename(made.folder / ".old-step_1")
    (made.folder / ".tmp-step_1-999").mkdir()
    assert names(store(tmp_path)) == ["step_1"]
    assert store(tmp_path).latest()[0] == 1


def test_resuming_at_an_earlier_step_discards_the_later_ones(tmp_path):
    made = store(tmp_path, 1, 2, 3)
    made.discard_after(1)
    assert names(made) == ["step_1"]


SAVE_FOREVER = """
import sys
from pathlib import Path
from azrl.runs import CheckpointStore

def write(folder):
    for n in range(8):
        (folder / f"part_{n}").write_bytes(bytes([step % 251]) * 20000)

store = CheckpointStore(Path(sys.argv[1]), 2)
found = store.latest()
step = found[0] if found else 0
print("ready", flush=True)
while True:
    step += 1
    store.save(step, write, {"step": step})
    if step % 3 == 0:
        store.save(step, write, {"step": step})
"""


def test_killed_at_any_moment_the_newest_checkpoint_is_whole_and_none_is_half_there(tmp_path, caplog):
    folder = tmp_path / "checkpoints"
    reached = 0
    for trial in range(8):
        child = subprocess.Popen([sys.executable, "-c", SAVE_FOREVER, str(folder)], stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"ready\n"
        time.sleep(0.03 + 0.017 * trial)
        child.kill()
        child.wait()
        child.stdout.close()
        found = CheckpointStore(folder, 2).latest()
        if found:
            step, path = found
            assert step >= reached
            reached = step
            assert read_meta(path) == {"step": step}
            assert {(path / f"part_{n}").read_bytes() for n in range(8)} == {bytes([step % 251]) * 20000}
        assert all(path.name.startswith("step_") for path in folder.iterdir())
    assert reached > 0
    assert "damaged" not in caplog.text


def test_the_manifest_lists_every_file(tmp_path):
    path = store(tmp_path, 1).at(1)
    files = json.loads((path / "MANIFEST.json").read_text())["files"]
    assert set(files) == {"model/weights.bin", "state.json"}
    assert files["state.json"]["bytes"] == 2
