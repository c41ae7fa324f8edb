"""Self-play through vLLM: the whole loop by its preset, the same again, and a stale layer that stops it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runs_cli import ROOT, metrics
from vllm_here import CLOSE, MARKS, played

from azrl.config import load_config
from azrl.engine import SyncMismatch
from azrl.engine.vllm.local import LocalHost
from azrl.runs.checkpoint import latest_checkpoint
from azrl.selfplay.train import train

pytestmark = MARKS
PRESET = ROOT / "config" / "cpu_vllm.yaml"
STALE = "model.layers.2.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder."""
    folder = tmp_path_factory.mktemp("whole")
    played(folder, "--config", str(PRESET), "--name", "whole")
    return folder / "runs" / "whole"


def test_five_steps_are_proved_and_measured(whole: Path) -> None:
    first, *steps = metrics(whole)
    assert [row["step"] for row in steps] == [1, 2, 3, 4, 5]
    for row in steps:
        assert row["trained/tokens"] > 100
        assert row["grad_norm"] > 0
        assert 0 <= row["sync/worst"] <= CLOSE
        assert 0 <= row["mismatch_kl"] < 1e-4
    for row in (first, steps[-1]):
        assert row["probe/greedy"] > 0.05  # the shipped model solves some
    assert (whole / "report.html").is_file()


def test_the_same_seed_gives_the_same_steps_and_a_stale_layer_stops_them(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = LocalHost.load
    loads = 0

    def forgetful(self: LocalHost, weights: dict[str, Any]) -> None:
        """From the second step on, one layer keeps what it had, and vLLM says that all went well."""
        nonlocal loads
        loads += 1
        model = self._llm.apply_model(lambda m: dict(m.named_parameters())[STALE])
        held = [parameter.detach().clone() for parameter in model]
        honest(self, weights)
        if loads > 3:  # the engine's start, the run's start, the first step
            for parameter, old in zip(model, held, strict=True):
                parameter.data.copy_(old)

    monkeypatch.setattr(LocalHost, "load", forgetful)
    config = load_config(
        [PRESET], [f"paths.runs={tmp_path}", "run.name=stale", "run.checkpoint_interval=1"]
    ).config
    with pytest.raises(SyncMismatch, match="disagree after a sync"):
        train(config, resume=None, checkpoint=None, command=["python"])
    run = tmp_path / "stale"
    assert metrics(run) == metrics(whole)[:2]  # the start and the first step, to the bit
    [failure] = (run / "failures").iterdir()
    assert {path.name for path in failure.iterdir()} == {"engine", "learner", "scores.json"}
    said = json.loads((failure / "scores.json").read_text())
    assert said["engine"] != said["learner"]
    found = latest_checkpoint(run / "checkpoints")
    assert found is not None
    assert found[0] == 1
