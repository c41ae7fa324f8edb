"""PPO, corrections and filters in the real loop: the shipped tiny model, its engine, learner and worker processes."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from runs_cli import done, metrics

SMALL = """
run: {iterations: 3, checkpoint_interval: 1, seed: 5}
engine: {device: cpu, temperature: 0.9, top_p: 0.98}
executor: {backend: process, workers: 1}
selfplay:
  {batch_size: 12, practise: 6, max_new_tasks: 6, seed_batch_factor: 1, n_samples: 4, practise_first: true,
   filter_groups: true, refill_rounds: 1, overlong: {filter: true, share: 0.2}}
training:
  {rl_algorithm: PPO, use_kl: true, kl_in_reward: true, importance_mode: sequence_mask, importance_floor: 0.2}
probe: {at_start: false, at_end: false}
"""


def came_to(run: Path) -> dict[str, Any]:
    model = run / "checkpoints" / "step_3" / "model"
    return {
        "metrics": metrics(run),
        "model": {
            str(f.relative_to(model)): hashlib.sha256(f.read_bytes()).hexdigest()
            for f in sorted(model.rglob("*"))
            if f.is_file()
        },
    }


@pytest.mark.slow
def test_a_ppo_run_learns_values_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(SMALL)
    told = done(tmp_path, "--config", "c.yaml", "--name", "whole")
    whole = came_to(tmp_path / "runs" / "whole")
    assert {"value/value.safetensors", "value/learner.json", "reference.safetensors"} <= set(whole["model"])
    steps = whole["metrics"][1:]
    assert len(steps) == 3
    for step in steps:
        assert all(math.isfinite(value) for value in step.values() if isinstance(value, float))
        assert step["value_loss"] > 0
        assert 0 <= step["importance_beyond"] < 0.5
        assert step["mismatch_kl"] < 0.01  # the learner follows the temperature
        assert 0 < step["trained/left_out"] < 1
        assert {"kl_reward", "kl_reference", "explained_variance"} <= set(step)
    assert steps[2]["value_mean"] != 0
    log = (tmp_path / "runs" / "whole" / "logs").rglob("*")
    assert "engine.top_p is 0.98" in told.stdout + told.stderr + "".join(
        f.read_text() for f in log if f.is_file()
    )

    done(tmp_path, "--config", "c.yaml", "--name", "parts", "--iterations", "2")
    done(tmp_path, "--resume", "parts", "--iterations", "3")
    assert came_to(tmp_path / "runs" / "parts") == whole

    folder = tmp_path / "runs" / "whole" / "checkpoints" / "step_3" / "model" / "value"
    assert json.loads((folder / "learner.json").read_text())["meta"] == {"fitted": True}
