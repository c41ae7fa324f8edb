"""Whatever a user gets wrong is said in plain words, ends with 2 and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from runs_cli import SETTINGS, cli, command, done, environment, metrics, outcome

from azrl.config import load_config
from azrl.selfplay import scripted
from azrl.selfplay.train import PAUSED, train

NEW = ("--config", "c.yaml", "--name", "one")
TORCH = (*NEW, "engine.backend=torch", "executor.backend=process", "model.name=./model")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refusal(folder: Path, *words: str) -> str:
    """What is said on standard error; the run must end with 2, without a traceback or a new file."""
    before = files(folder)
    result = cli(folder, *words)
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert [f for f in files(folder) if f not in before] in ([], ["runs"])
    return result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "bad.yaml"], "bad.yaml:2: unreadable YAML"),
        (["--config", "wrong.yaml"], "wrong.yaml:2: run.iterations: should be a valid integer, got 'many'"),
        (["--config", "gone.yaml"], "gone.yaml: no such file"),
        ([*NEW, "run.iterations=many"], "run.iterations: should be a valid integer, got 'many'"),
        ([*NEW, "training.learning_rate=fast"], "training.learning_rate: should be a valid number"),
        (
            [*NEW, "executor.backend=docker", "executor.docker_host=unix:///no/such.sock"],
            "no Docker daemon at",
        ),
        ([*NEW, "tasks.kinds=[]"], "tasks.kinds: want at least one kind, each named once"),
        ([*NEW, "tasks.kinds=[deduction,deduction]"], "tasks.kinds: want at least one kind, each named once"),
        ([*NEW, "engine.backend=torch", "model.name=./gone"], "the model './gone': no such folder"),
        ([*NEW, "--checkpoint", "gone"], "--checkpoint: no such folder: gone"),
        ([*NEW, "--checkpoint", "."], "--checkpoint: . holds no whole checkpoint"),
        ([*NEW, "paths.runs=c.yaml"], "cannot make the run folder c.yaml/one"),
        (["--config", "c.yaml", "--name", "a/b"], "run.name: 'a/b' cannot name a folder"),
        (["--resume", "--config", "c.yaml"], "no run to go on with"),
        (["trian"], "'trian' is neither a verb nor key=value, did you mean train?"),
        (["report", "nowhere"], "no such run: nowhere"),
    ],
)
def test_what_is_wrong_is_said(place: Path, words: list[str], message: str) -> None:
    (place / "bad.yaml").write_text("run: [1\nmodel: 2\n")
    (place / "wrong.yaml").write_text("run:\n  iterations: many\n")
    assert message in refusal(place, *words)


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ({}, "config.json in the model's folder model"),
        (
            {"config.json": "{}", "tokenizer.json": "{}"},
            "weights (*.safetensors) in the model's folder model",
        ),
        ({"config.json": "{}", "m.safetensors": ""}, "a tokenizer in the model's folder model"),
        ({"config.json": "{}", "m.safetensors": "", "tokenizer.json": "{}"}, "'./model' cannot be loaded"),
        ({"config.json": "no", "m.safetensors": "", "tokenizer.json": "{}"}, "'./model' cannot be loaded"),
    ],
)
def test_a_models_folder_that_lacks_something(place: Path, there: dict[str, str], message: str) -> None:
    (place / "model").mkdir()
    for name, text in there.items():
        (place / "model" / name).write_text(text)
    assert message in " ".join(refusal(place, *TORCH).split())


def test_a_used_name_is_refused_and_the_run_stays_as_it_was(place: Path, reference: dict[str, Any]) -> None:
    done(place, *NEW)
    said = refusal(place, *NEW)
    assert "run name 'one' is used" in said
    assert "--resume runs/one" in said
    assert "run.name=NAME" in said
    assert outcome(place / "runs" / "one") == reference


def test_a_resume_that_cannot_start_changes_nothing(place: Path, reference: dict[str, Any]) -> None:
    done(place, *NEW)
    config = (place / "runs" / "one" / "config.resolved.yaml").read_bytes()
    (place / "model").mkdir()
    for name in ("config.json", "m.safetensors", "tokenizer.json"):
        (place / "model" / name).write_text("{}")
    words = ("engine.backend=torch", "executor.backend=process", "model.name=./model")
    assert "cannot be loaded" in refusal(place, "--resume", "one", *words)
    assert (place / "runs" / "one" / "config.resolved.yaml").read_bytes() == config
    assert outcome(place / "runs" / "one") == reference


READ_ONLY = """
mount -t tmpfs tmpfs disk && mkdir disk/runs || exit 99
if [ -n "$1" ]; then cp -r "$1" disk/runs/one; fi; shift
mount -o remount,ro disk && cd disk || exit 99
"$@" 2> ../err; echo $? > ../code
"""


@pytest.mark.parametrize("resumed", [False, True])
def test_a_read_only_disk(place: Path, reference_run: Path, resumed: bool) -> None:
    (place / "disk").mkdir()
    words = ["--resume", "one"] if resumed else ["--config", "../c.yaml", "--name", "one"]
    run = [str(reference_run) if resumed else "", *command(*words)]
    try:
        ended = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY, "sh", *run],
            cwd=place, env=environment(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if not (place / "code").exists():
        pytest.skip(f"nothing can be mounted here: {ended.stderr.strip()}")
    said = (place / "err").read_text()
    assert (place / "code").read_text() == "2\n", said
    assert "the file system is read-only" in said
    assert "runs/one" in said
    assert "Traceback" not in said


def garbage(prompt: str, u: float, skill: float) -> str:
    """Text that is no proposal and no answer."""
    return "lorem ipsum " * int(1 + 9 * u)


def test_proposals_that_are_never_valid_pause_the_run_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(SETTINGS)
    config = load_config(["c.yaml"], ["run.name=one", "run.iterations=60", "probe.interval=0"]).config
    honest = scripted.respond
    monkeypatch.setattr(scripted, "respond", garbage)
    assert train(config, resume=None, checkpoint=None, command=["python", "main.py"]) == PAUSED == 3
    run = tmp_path / "runs" / "one"
    patience = config.monitors.admitted.patience
    rows = metrics(run)
    assert [row["step"] for row in rows] == list(range(patience + 1))
    assert rows[-1]["gate/no_input"] + rows[-1].get("gate/cut_off", 0) == 12
    assert rows[-1]["reward/proposer/deduction"] == -1.0
    assert rows[-1]["alarm/admitted"] == 1.0
    assert (
        json.loads((run / "checkpoints" / f"step_{patience}" / "state.json").read_text())["step"] == patience
    )
    assert (run / "report.html").is_file()
    said = " ".join(capsys.readouterr().out.split())
    assert "paused at step 20 by the alarm: admitted 0 is below 0.02 (action: pause)" in said

    # Once the cause is mended, the run goes on from there.
    monkeypatch.setattr(scripted, "respond", honest)
    config = load_config([run / "config.resolved.yaml"], ["run.iterations=24"]).config
    assert train(config, resume="latest", checkpoint=None, command=["python", "main.py"]) == 0
    assert metrics(run)[-1]["step"] == 24
    assert metrics(run)[-1]["gate/admitted"] > 0
