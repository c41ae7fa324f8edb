"""A run of the loop by `train` in this process: alarms that act, and what the run leaves to read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runs_cli import ROOT, SETTINGS, metrics

from azrl.config import load_config
from azrl.engine import SyncMismatch
from azrl.selfplay import scripted
from azrl.selfplay.train import PAUSED, train
from azrl.tasks.types import KINDS


def trained(folder: Path, *overrides: str) -> tuple[int, Path]:
    """The exit code and the folder of a run in `folder`."""
    (folder / "c.yaml").write_text(SETTINGS)
    words = [f"paths.runs={folder}", "run.name=one", "probe.interval=0", *overrides]
    config = load_config([folder / "c.yaml"], words).config
    return train(config, resume=None, checkpoint=None, command=["python"]), folder / "one"


def saved(run: Path, step: int) -> dict[str, Any]:
    return json.loads((run / "checkpoints" / f"step_{step}" / "state.json").read_text())


BLIND = ("selfplay.k_references=0", "selfplay.spec=false")


def test_without_references_and_spec_a_collapse_raises_the_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    honest = scripted.respond

    def policy(prompt: str, u: float, skill: float) -> str:
        """One program, whatever it is asked for, and always another input."""
        asked.append(prompt)
        if prompt.startswith("propose") and not prompt.startswith("propose induction"):
            return f"def f(x):\n    x = x + 7\n    return [x, 2]\nin {int(u * 9999)}"
        return honest(prompt, u, skill)

    monkeypatch.setattr(scripted, "respond", policy)
    code, run = trained(tmp_path, *BLIND, "monitors.unique_rate.action=pause")
    patience = 5
    assert code == PAUSED
    assert f"paused at step {patience} by the alarm: unique_rate" in " ".join(capsys.readouterr().out.split())
    rows = metrics(run)
    assert [row["step"] for row in rows] == list(range(patience + 1))
    assert [row.get("alarm/unique_rate") for row in rows] == [None] * patience + [1.0]
    assert rows[-1]["unique_rate"] < 0.1
    assert saved(run, patience)["step"] == patience
    proposals = {p for p in asked if p.startswith("propose") and not p.startswith("propose induction")}
    assert proposals == {"propose abduction \nnew\n", "propose deduction \nnew\n"}


@pytest.mark.parametrize(
    ("overrides", "weight"),
    [
        (["monitors.unique_rate.action=novelty"], 0.5),
        (["monitors.unique_rate.action=novelty", "selfplay.novelty_weight=0.4"], 0.8),
        (["monitors.unique_rate.action=warn"], 0.0),
        (["monitors.unique_rate.action=novelty", "monitors.unique_rate.minimum=0.01"], 0.0),
    ],
)
def test_an_alarm_raises_the_price_of_repeating_when_it_is_told_to(
    tmp_path: Path, overrides: list[str], weight: float
) -> None:
    """The scripted policy knows ten programs, so that the unique rate falls below 0.6 at once."""
    code, run = trained(tmp_path, *overrides)
    assert code == 0
    assert saved(run, 8)["loop"]["novelty_weight"] == weight
    rang = "monitors.unique_rate.minimum=0.01" not in overrides
    assert metrics(run)[-1].get("alarm/unique_rate") == (1.0 if rang else None)


def test_the_metrics_have_the_documented_names(tmp_path: Path) -> None:
    code, run = trained(tmp_path)
    assert code == 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(9))
    first, last = lines[0], lines[-1]
    for line in (first, last):
        assert {"probe/greedy", "probe/sampled", "probe/pass@2", "probe/stderr/greedy"} <= line.keys()
    assert first["seed/admitted"] > 0
    wanted = {"step", "tokens", "gate/admitted", "time/wall", "time/generate", "time/gate", "time/judge"}
    wanted |= {"time/update", "time/sync", "time/record", "time/other", "unique_rate", "entropy"}
    wanted |= {"executor/jobs"}
    wanted |= {f"reward/{role}/{kind}" for role in ("proposer", "solver") for kind in KINDS}
    wanted |= {f"solve_rate/{kind}" for kind in KINDS}
    assert wanted <= last.keys()
    for line in lines[1:]:
        assert sum(v for k, v in line.items() if k.startswith("gate/")) == 12
        assert 0.0 <= line["admitted"] <= 1.0
        assert line["tokens"] > 0
        phases = [v for k, v in line.items() if k.startswith("time/")]
        assert all(v > -1e-6 for v in phases)
    spent = ("generate", "gate", "judge", "update", "sync", "record", "other")
    assert sum(last[f"time/{k}"] for k in spent) + last.get("time/checkpoint", 0) == pytest.approx(
        last["time/wall"]
    )


def test_rollouts_can_be_read(tmp_path: Path) -> None:
    _, run = trained(tmp_path, "logging.rollouts_every=2")
    files = sorted(path.name for path in (run / "rollouts").iterdir())
    assert files == [f"step_{step}.jsonl" for step in (2, 4, 6, 8)]
    records = [json.loads(line) for line in (run / "rollouts" / "step_8.jsonl").read_text().splitlines()]
    assert {r["role"] for r in records} == {"proposer", "solver"}
    assert {r["step"] for r in records} == {8}
    for record in records:
        assert record["kind"] in tuple(KINDS)
        assert record["prompt"]
        assert record["reason"]
        if record["role"] == "solver":
            assert record["prompt"].startswith(("deduce\n", "abduce\n", "induce\n"))
            assert record["correct"] is (record["reward"] == 1.0)
            assert record["outputs"]
        else:
            assert record["prompt"].startswith(f"propose {record['kind']} ")
            assert (record["task_id"] is not None) == (record["reason"] == "admitted")


def test_progress_and_time_limits_end_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    code, run = trained(tmp_path, "run.time_limit_s=0.05", "run.iterations=100000")
    assert code == 0
    last = metrics(run)[-1]["step"]
    assert 0 < last < 1000
    assert saved(run, last)["trained_s"] >= 0.05


def test_rollouts_of_another_model_stop_the_run_with_both_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = scripted.ScriptedLearner.update

    def update(self: scripted.ScriptedLearner, *args: Any, **options: Any) -> dict[str, float]:
        learned = honest(self, *args, **options)
        return {**learned, "mismatch_kl": 0.5 if self.version == 3 else 0.01}

    monkeypatch.setattr(scripted.ScriptedLearner, "update", update)
    with pytest.raises(SyncMismatch, match=r"mismatch KL 0\.5 nats a token \(engine\.mismatch_limit 0\.1\)"):
        trained(tmp_path)
    run = tmp_path / "one"
    assert [row["step"] for row in metrics(run)] == [0, 1, 2]
    failure = run / "failures" / "sync-3"
    learner = json.loads((failure / "learner" / "skill.json").read_text())
    engine = json.loads((failure / "engine" / "scripted.json").read_text())
    assert engine["skill"] != learner["skill"]  # what sampled, and what it had become
    assert saved(run, 2)["step"] == 2
    monkeypatch.undo()
    config = load_config([tmp_path / "c.yaml"], [f"paths.runs={tmp_path}", "run.name=one"]).config
    assert train(config, resume="latest", checkpoint=None, command=["python"]) == 0
    assert metrics(run)[-1]["step"] == 8


def test_the_scripted_loop_loads_no_torch(place: Path) -> None:
    words = ["--config", "c.yaml", "--name", "one", "--iterations", "1"]
    script = f"import sys; from azrl.cli import main; main({words}); sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run([sys.executable, "-c", script], cwd=place, env=environment, check=False)
    assert ended.returncode == 0
    assert len(metrics(place / "runs" / "one")) == 2
