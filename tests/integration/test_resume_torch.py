"""The shipped tiny model with its real engine, learner and worker processes: killed, and the same to the bit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from runs_cli import database, done, logged, metrics, start, wait_until

SMALL = """
run: {iterations: 3, checkpoint_interval: 1, seed: 5}
executor: {backend: process, workers: 1}
selfplay: {batch_size: 12, practise: 6, max_new_tasks: 6, seed_batch_factor: 1, n_samples: 4}
probe: {items: 4, samples: 2}
"""


def came_to(run: Path) -> dict[str, Any]:
    model = run / "checkpoints" / "step_3" / "model"
    return {
        "metrics": metrics(run),
        "buffer": database(run / "buffer.sqlite"),
        "model": {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(model.iterdir())},
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "c.yaml").write_text(SMALL)
    done(folder, "--config", "c.yaml", "--name", "whole")
    return came_to(folder / "runs" / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("lines", [1, 2])
def test_a_real_run_resumes_to_the_same_weights(tmp_path: Path, whole: dict[str, Any], lines: int) -> None:
    (tmp_path / "c.yaml").write_text(SMALL)
    process = start(tmp_path, "--config", "c.yaml", "--name", "killed")
    assert wait_until(lambda: logged(tmp_path / "runs" / "killed") >= lines, process)
    process.kill()
    process.communicate()
    done(tmp_path, "--resume", "killed")
    assert came_to(tmp_path / "runs" / "killed") == whole


@pytest.mark.slow
def test_tasks_are_embedded_after_a_resume_as_they_were_before_it(tmp_path: Path) -> None:
    """The model's token vectors are trained, those that ZRC embeds with are the starting model's."""
    (tmp_path / "c.yaml").write_text(SMALL)
    words = (
        "--config",
        "c.yaml",
        "curriculum.name=zrc",
        "selfplay.seed_batch_factor=8",
        "probe.at_end=false",
    )
    done(tmp_path, *words, "--name", "whole")
    done(tmp_path, *words, "--name", "halves", "--iterations", "1")
    done(tmp_path, "--resume", "halves", "--iterations", "3")
    whole, halves = came_to(tmp_path / "runs" / "whole"), came_to(tmp_path / "runs" / "halves")
    assert halves == whole
    assert [row["clusters"] >= 1 for row in whole["metrics"][1:]] == [True] * 3
    places = [
        json.loads((tmp_path / "runs" / name / "checkpoints" / "step_3" / "state.json").read_text())["loop"]
        for name in ("whole", "halves")
    ]
    assert places[0]["practice"]["meaning"] == places[1]["practice"]["meaning"] != []
