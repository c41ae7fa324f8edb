"""What the command line says of memory: before a run that cannot fit, and in a dry run. Nothing is loaded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from azrl import cli, machine, preflight

TINY = str(Path(__file__).parents[2] / "config" / "smoke.yaml")


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU and no executor, whatever this machine has."""
    monkeypatch.setattr(machine, "gpus", lambda: ((), "no NVIDIA driver"))
    monkeypatch.setattr(preflight, "executor_choice", lambda config: "not asked")


def test_a_gpu_that_is_too_small_is_said_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: ((machine.Gpu("NVIDIA L4", 22 * machine.GIB),), ""))
    words = [
        "engine.backend=torch",
        "engine.batch_rows=128",
        "training.lora_rank=0",
        "training.weights_dtype=float32",
    ]
    assert cli.main(["model.name=Qwen/Qwen2.5-7B", *words]) == 2
    text = " ".join(capsys.readouterr().err.split())
    assert re.search(r"memory: Qwen/Qwen2.5-7B takes about \d\d\d\.\d GiB with these settings", text)
    assert "and NVIDIA L4 has 22.0 GiB; most of it is KV cache 112.0 GiB, optimizer 56.7 GiB, weights" in text
    assert "try a smaller model, a lower engine.batch_rows, training.lora_rank=32" in text


def test_a_vllm_that_cannot_hold_the_model_beside_the_learner_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: ((machine.Gpu("NVIDIA L4", 22 * machine.GIB),), ""))
    assert cli.main(["model.name=Qwen/Qwen2.5-7B"]) == 2
    text = " ".join(capsys.readouterr().err.split())
    assert "most of it is whole model 28.4 GiB, engine 14.6 GiB" in text
    assert "or a server (engine.vllm.server)" in text


def test_memory_that_is_too_small_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "memory", lambda: machine.GIB // 8)
    assert cli.main(["--config", TINY]) == 2
    assert "and this machine has 0.1 GiB; most of it is" in capsys.readouterr().err


def test_dry_run_shows_the_memory_in_a_small_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--dry-run", "model.name=Qwen/Qwen2.5-0.5B", "executor.backend=process"]) == 0
    rows = [row for row in capsys.readouterr().out.splitlines() if row.startswith("# memory: ")]
    assert 8 <= len(rows) <= 16
    assert "# memory: always   weights            0.92 GiB  494.03 million parameters in bfloat16" in rows
    assert re.fullmatch(r"# memory: at most  \d+\.\d\d GiB \(± 15%\), in update; no GPU here", rows[-1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"model_type": "gpt2"}', "no estimate: model_type 'gpt2' is none of"),
        (None, "no estimate before the files"),
    ],
)
def test_dry_run_without_an_estimate(
    tmp_path: Path, content: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    if content:
        (tmp_path / "model" / "config.json").write_text(content)
    assert cli.main(["--config", TINY, "--dry-run", f"model.name={tmp_path / 'model'}"]) == 0
    assert message in capsys.readouterr().out
