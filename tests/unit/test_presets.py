"""Every preset loads, says what it would do, and fits the machine that it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from azrl import cli, machine, preflight
from azrl.config import load_config
from azrl.room import memory_lines, room

CONFIG = Path(__file__).parents[2] / "config"
PRESETS = sorted(CONFIG.glob("*.yaml"))
GPUS = {
    "config": ("NVIDIA A40", 44.4, 1),
    "a40": ("NVIDIA A40", 44.4, 1),
    "h200": ("NVIDIA H200", 139.8, 1),
    "azr_paper": ("NVIDIA A800-SXM4-80GB", 79.2, 1),
}
"""Preset to the GPU that it is for, its memory in GiB as the driver gives it, and how many of them train."""


def give(monkeypatch: pytest.MonkeyPatch, name: str, gib: float, processes: int) -> None:
    """One such GPU for each process."""
    monkeypatch.setattr(machine, "gpus", lambda: ((machine.Gpu(name, int(gib * machine.GIB)),), ""))
    monkeypatch.setenv("WORLD_SIZE", str(processes))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_dry_run(preset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(preflight, "executor_choice", lambda config: "not asked")
    assert cli.main(["--config", str(preset), "--dry-run"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("# ")]
    assert sum(line.startswith("# memory: at most") for line in told) == 1


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_each_preset_fits_what_it_is_for(preset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if preset.stem in GPUS:
        give(monkeypatch, *GPUS[preset.stem])
    else:
        monkeypatch.setattr(machine, "memory", lambda: 4 * machine.GIB)
    config = load_config([preset]).config
    found = room(config)
    assert found is not None
    assert found.verdict == "fits", "\n".join(memory_lines(config))


@pytest.mark.parametrize(("size", "training"), [("3B", 1), ("7B", 3), ("14B", 7)])
def test_the_papers_sizes_fit_as_many_gpus_as_the_paper_had_one_of_them_for_vllm(
    size: str, training: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, "NVIDIA A800-SXM4-80GB", 79.2, training)
    found = room(load_config([CONFIG / "azr_paper.yaml"], [f"model.name=Qwen/Qwen2.5-Coder-{size}"]).config)
    assert found is not None
    assert found.verdict == "fits"


def test_the_papers_hyper_parameters() -> None:
    """Table 3 of arXiv 2505.03335."""
    config = load_config([CONFIG / "azr_paper.yaml"]).config
    selfplay, training = config.selfplay, config.training
    assert (config.model.max_prompt_length, config.model.max_response_length) == (6144, 8096)
    assert (selfplay.batch_size + selfplay.max_new_tasks, selfplay.n_samples, selfplay.k_references) == (
        384,
        8,
        6,
    )
    assert (training.learning_rate, training.max_grad_norm, training.ppo_epochs) == (1e-6, 1.0, 1)
    assert (training.entropy_coeff, training.use_kl, selfplay.seed_batch_factor) == (0.001, False, 4)
    assert (config.engine.temperature, config.engine.top_p, config.run.iterations) == (1.0, 1.0, 500)
    assert (config.buffer.max_buffer_size, config.tasks.induction_pairs, selfplay.boundary_reward) == (
        16384,
        10,
        0.0,
    )
    assert selfplay.format_penalty.model_dump() == {"formatted_wrong": -0.5, "format_error": -1.0}
