"""Self-play with ZRC: the whole loop practises clusters of the buffer's tasks, and resumes to the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from loop import Watched, opened, settings
from runs_cli import cli, done, metrics, outcome

from azrl.config import Config
from azrl.selfplay.clusters import ByCluster
from azrl.selfplay.compose import build_policy

ZRC = (
    "curriculum.name=zrc",
    "curriculum.options.settings={min_steps: 2, stabilisation_steps: 2, samples: 32}",
)
SEEDED = "selfplay.seed_batch_factor=6"


def chosen(**curriculum: Any) -> Config:
    return settings(
        curriculum={"name": "zrc", "options": {"settings": {"min_steps": 2, "samples": 32}}, **curriculum}
    )


def practice(play: Watched) -> ByCluster:
    assert isinstance(play.parts.practice, ByCluster)
    return play.parts.practice


def test_every_step_practises_clusters_of_exactly_the_stored_tasks(tmp_path: Path) -> None:
    with opened(tmp_path, chosen()) as play:
        play.seed()
        for number in range(1, 6):
            step = play.step(number)
            zrc = practice(play)._zrc
            assert zrc.tasks == tuple(play.parts.buffer.ids())
            assert zrc.step == number
            terms = {k: v for k, v in step.metrics.items() if k.startswith("cluster_terms/")}
            assert len(terms) == 7 * len(zrc.clusters) == 7 * step.metrics["clusters"]
            assert sum(v for k, v in terms.items() if k.endswith("/share")) == pytest.approx(1.0)
            assert sum(v for k, v in terms.items() if k.endswith("/size")) == play.parts.buffer.size()
            practised = [r["propensity"] for r in step.rollouts if r["role"] == "solver" and r["propensity"]]
            assert all(0.0 < chance < 1.0 for chance in practised)
        visited = {id for id in play.parts.buffer.ids() if play.parts.buffer.history(id)}
        tried = zrc._memory.table.counts(zrc.step)["tried"]
        assert {id for id, n in zip(zrc.tasks, tried, strict=True) if n > 0} == visited
        assert step.metrics["reclustered"] in (0.0, 1.0)
        assert len(play.updates) == 5


def test_tasks_that_the_buffer_evicts_are_practised_no_more(tmp_path: Path) -> None:
    with opened(tmp_path, chosen()) as play:
        play.seed()
        before = set(play.parts.buffer.ids())
        play.step(1)
        play.parts.buffer.max_size = 36
        for number in range(2, 6):
            play.step(number)
            assert practice(play)._zrc.tasks == tuple(play.parts.buffer.ids())
            assert len(practice(play)._zrc.tasks) == 36
        assert before - set(play.parts.buffer.ids())


def test_difficulty_alone_will_do(tmp_path: Path) -> None:
    with opened(tmp_path, chosen(embedding="none")) as play:
        play.steps(4)
        assert practice(play)._zrc._memory.projection.centre is None
        assert practice(play)._zrc.tasks == tuple(play.parts.buffer.ids())


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(place: Path) -> None:
    done(place, "--config", "c.yaml", "--name", "whole", SEEDED, *ZRC)
    whole = outcome(place / "runs" / "whole")
    assert sum(row.get("reclustered", 0.0) for row in whole["metrics"]) > 0
    done(
        place,
        "--config",
        "c.yaml",
        "--name",
        "halves",
        SEEDED,
        *ZRC,
        "--iterations",
        "5",
        "probe.at_end=false",
    )
    done(place, "--resume", "halves", "--iterations", "8", "probe.at_end=true")
    halves = outcome(place / "runs" / "halves")
    assert json.dumps(halves["state"]) == json.dumps(whole["state"])
    for part in ("metrics", "buffer", "rollouts"):
        assert halves[part] == whole[part]


def test_a_checkpoint_without_clusters_is_refused(place: Path) -> None:
    done(place, "--config", "c.yaml", "--name", "one", "--iterations", "2")
    wrong = cli(place, "--resume", "one", "curriculum.name=zrc")
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (2, False)
    assert "does not fit this configuration" in wrong.stderr
    assert [row["step"] for row in metrics(place / "runs" / "one")] == [0, 1, 2]


def test_the_real_models_own_token_vectors_embed_and_do_not_move() -> None:
    torch = pytest.importorskip("torch", reason="the tiny model is torch's")
    policy = build_policy(Config.model_validate({"curriculum": {"name": "zrc"}}))
    assert policy.embed is not None
    text = "deduction\ndef f(x):\n    return x[::-1]\n[1, 2]"
    before = policy.embed(text)
    weights = policy.learner.weights()
    with torch.no_grad():
        for value in weights.values():
            value.mul_(2.0)
    assert policy.embed(text).tolist() == before.tolist()
    assert before.ndim == 1
    assert before.any()
    assert build_policy(Config()).embed is None
