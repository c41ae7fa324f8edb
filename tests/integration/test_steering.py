"""The proposer is steered as it is paid, and every draw says with what chance it was made."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from loop import opened, settings

from azrl.selfplay.measure import Step
from azrl.selfplay.steer import frontier
from azrl.tasks.types import KINDS

EVERYTHING = {"rollouts_per_step": 1000}


def asked(record: dict[str, Any]) -> int:
    """The bin that a compact prompt asks for."""
    return record["prompt"].split("\n")[0].count("|")


def made(record: dict[str, Any]) -> int:
    """Top-level statements: lines of `def f` indented once."""
    lines = record["program"].split("\n")[1:]
    return sum(line.startswith("    ") and not line.startswith("     ") for line in lines)


def solve_rates(step: Step) -> dict[str, float]:
    """The share of right attempts, by task."""
    verdicts = defaultdict(list)
    for record in step.rollouts:
        if record["role"] == "solver" and record["correct"] is not None:
            verdicts[record["task_id"]].append(record["correct"])
    return {task: fmean(found) for task, found in verdicts.items()}


def test_the_proposer_earns_by_the_solve_rate_and_the_size_asked_for(tmp_path: Path) -> None:
    steered = {"proposer_reward": "frontier", "target_solve_rate": 0.25, "spec_keep": 0.6}
    with opened(tmp_path, settings(selfplay=steered, logging=EVERYTHING)) as play:
        steps = play.steps(2)
    paid = set()
    for step in steps:
        rates = solve_rates(step)
        proposals = [r for r in step.rollouts if r["role"] == "proposer" and r["task_id"] in rates]
        for record in proposals:
            off, solved = abs(made(record) - asked(record)), round(4 * rates[record["task_id"]])
            wanted = frontier(solved, 4, target=0.25, off=off, keep=0.6)
            assert record["reward"] == pytest.approx(wanted)
            paid.add((solved, off))
        gaps = [abs(rates[record["task_id"]] - 0.25) for record in proposals]
        assert step.metrics["spec/rate_gap"] == pytest.approx(fmean(gaps))
    assert len({solved for solved, _ in paid}) > 2
    assert len({off for _, off in paid}) > 2


def test_how_often_the_spec_is_met_is_measured(tmp_path: Path) -> None:
    with opened(tmp_path, settings(logging=EVERYTHING)) as play:
        [step] = play.steps(1)
    admitted = [r for r in step.rollouts if r["role"] == "proposer" and r["reason"] == "admitted"]
    assert step.metrics["spec/met"] == pytest.approx(fmean(made(r) == asked(r) for r in admitted))


def test_every_draw_is_logged_with_its_chance(tmp_path: Path) -> None:
    weights = {f"{kind}:{size}": float(size) for kind in KINDS for size in (1, 2, 3, 4)}
    proportional = {"name": "proportional", "options": {"weights": weights}}
    with opened(tmp_path, settings(curriculum=proportional, logging=EVERYTHING)) as play:
        [step] = play.steps(1)
    for arm, weight in weights.items():
        assert step.metrics[f"curriculum_share/{arm}"] == pytest.approx(weight / 30)
    for record in step.rollouts:
        if record["role"] == "proposer":
            assert record["propensity"] == pytest.approx(asked(record) / 30)
    new = {r["task_id"] for r in step.rollouts if r["role"] == "proposer" and r["task_id"]}
    solved = {r["task_id"]: r["propensity"] for r in step.rollouts if r["role"] == "solver"}
    assert {task for task, chance in solved.items() if chance is None} == new & solved.keys()
    practised = [chance for chance in solved.values() if chance is not None]
    assert practised
    assert all(0.0 < chance <= 4 / 30 for chance in practised)
