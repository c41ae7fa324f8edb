"""The learner of sums: its problems are right, its answers are its own, and failures are not dropped."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import addition
from sums.contest import EVERY, THRESHOLD, Oracle, contest, make
from sums.learner import Learner, Recipe, exam
from sums.problems import BASE, BLANK, CHAIN, FLAT, WIDTH
from sums.summary import ratio, steps_to_threshold, table

SMALL = Recipe(width=16, heads=2, warm_steps=2, groups=8, rollouts=4)


def numbers(columns, length):
    """The two numbers, by int()."""
    text = [
        ["".join(str(digit) for digit in reversed(row[:length, side])) for row in columns] for side in (0, 1)
    ]
    return [[int(word, BASE) for word in side] for side in text]


@pytest.mark.parametrize("level", range(len(CHAIN.arms)))
def test_a_chain_answer_spells_the_sum(level):
    digits = CHAIN.levels[level]
    problems = CHAIN.draw(np.full(200, level), np.random.default_rng(0))
    assert problems.length.tolist() == [digits] * 200
    assert problems.first.tolist() == [0] * 200
    assert (problems.columns[:, digits:] == BLANK).all()
    assert (problems.answers[:, digits:] == -1).all()
    for a, b, answer in zip(
        *numbers(problems.columns, digits), problems.answers[:, :digits].tolist(), strict=True
    ):
        spelt = sum((token % BASE) * BASE**k for k, token in enumerate(answer))
        assert spelt + (answer[-1] // BASE) * BASE**digits == a + b


def test_a_flat_answer_is_the_total_of_one_column_alone():
    arms = np.repeat(np.arange(len(FLAT.arms)), 50)
    problems = FLAT.draw(arms, np.random.default_rng(0))
    assert (problems.columns < BASE).all()
    for row, arm in enumerate(arms):
        column = FLAT.levels[arm] - 1
        assert problems.first[row] == column
        assert problems.answers[row].tolist() == [problems.columns[row, column].sum()] + [-1] * (WIDTH - 1)


@pytest.mark.parametrize("place", [CHAIN, FLAT], ids=lambda place: place.name)
def test_held_out_problems_are_never_practised(place):
    arms = np.tile(np.arange(len(place.arms)), 400)
    practised = place.draw(arms, np.random.default_rng(0))
    measured = exam(place, 400, 0)
    for problems, held_out in ((practised, False), (measured, True)):
        shown = np.where(problems.columns == BLANK, 0, problems.columns)
        for a, b in zip(*numbers(shown, WIDTH), strict=True):
            assert ((3 * a + b) % 7 == 0) is held_out


def test_an_answer_is_right_when_all_its_tokens_are():
    problems = CHAIN.draw(np.array([0, len(CHAIN.arms) - 1]), np.random.default_rng(0))
    given = np.repeat(np.maximum(problems.answers, 0)[:, None], 3, axis=1)
    given[0, 1, 1] += 1  # the last token of the short answer
    given[0, 2, 2:] = 7  # behind its end
    given[1, 1, 5] += 1
    assert problems.right(given).tolist() == [[True, False, True], [True, False, True]]


@pytest.mark.parametrize("place", [CHAIN, FLAT], ids=lambda place: place.name)
@pytest.mark.parametrize("layers", [1, 2])
def test_answers_written_token_by_token_are_those_of_the_whole(place, layers):
    learner = Learner(Recipe(width=16, heads=2, layers=layers), seed=0)
    problems = place.draw(np.random.default_rng(0).integers(0, len(place.arms), 40), np.random.default_rng(1))
    answers = learner.sample(problems, 2, greedy=True)
    likeliest = learner.logprobs(problems, answers).argmax(-1)
    for row, length in enumerate(problems.length):
        assert answers[row, :, :length].tolist() == likeliest[row, :, :length].tolist()
        assert not answers[row, :, length:].any()


def test_practice_makes_right_answers_likelier():
    learner = Learner(Recipe(width=16, heads=2, rate=5e-3, entropy=0.0), seed=0)
    problems = FLAT.draw(np.zeros(64, int), np.random.default_rng(0))
    right = torch.from_numpy(np.maximum(problems.answers, 0))[:, None]

    def chance():
        with torch.no_grad():
            return learner.logprobs(problems, right)[:, 0, 0].gather(-1, right[:, 0, :1]).exp().mean()

    before = chance()
    for _ in range(30):
        learner.practise(problems)
    assert chance() > before + 0.05


def test_warm_start_teaches_the_easiest_arm_alone():
    learner = Learner(Recipe(warm_steps=200), seed=0)
    learner.warm_start(np.random.default_rng(0))
    solved = learner.solved(exam(CHAIN, 40, 0)).reshape(-1, 40).mean(axis=1)
    assert solved[0] > 0.8
    assert solved[1:].max() < 0.2


def run(means, name="uniform", seed=0, tokens=100):
    return {
        "place": "chain", "contender": name, "seed": seed, "steps": EVERY * (len(means) - 1), "tokens": tokens,
        "informative": 0.5, "accuracy": [[m, m] for m in means], "shares": [],
    }  # fmt: skip


def test_a_run_that_never_gets_there_counts_as_all_steps():
    assert steps_to_threshold(run([0.2, 0.5, THRESHOLD, 0.95]), 1000) == 2 * EVERY
    assert steps_to_threshold(run([0.2, 0.5, 0.89]), 1000) == 1000


def test_the_ratio_is_of_means_over_seeds_that_both_have():
    assert ratio([10, 30], [40, 40]) == pytest.approx((0.5, 0.25, 0.75))
    runs = [run([0.2] * 11, seed=s) for s in (0, 1)] + [
        run([0.2, 0.95], "dump", 1),
        run([0.2, 0.2, 0.95], "dump", 9),
    ]
    [dump] = [line for line in table(runs, "chain", 100).splitlines() if line.startswith("| dump")]
    assert dump.split(" | ")[1:5] == ["2", "2", "15 ± 5", "0.10 (one seed)"]


@pytest.mark.parametrize("name", addition.NAMES)
def test_every_contender_can_be_made_for_both_places(name):
    for place in (CHAIN, FLAT):
        curriculum = make(name, place, 100)
        if isinstance(curriculum, Oracle):
            curriculum.look(np.array([0.95] + [0.1] * (len(place.arms) - 1)))
            assert curriculum.probabilities(0).argmax() == 1
        assert curriculum.probabilities(0).shape == (len(place.arms),)


def test_a_contest_is_the_same_again_and_stops_at_the_threshold():
    first, again = (contest(CHAIN, "frontier", Learner(SMALL, 0), 0, 20, stop=True) for _ in range(2))
    assert {**first, "cpu_s": 0} == {**again, "cpu_s": 0}
    assert first["steps"] == 20
    assert len(first["accuracy"]) == 3
    assert np.sum(first["shares"], axis=1) == pytest.approx([1.0, 1.0], abs=0.01)
    learner = Learner(SMALL, 0)
    learner.solved = lambda problems: np.ones(len(problems.length), dtype=bool)
    assert contest(CHAIN, "uniform", learner, 0, 20, stop=True)["steps"] == 0
    assert contest(CHAIN, "uniform", learner, 0, 20, stop=False)["steps"] == 20


def test_runs_that_are_there_are_not_run_again(tmp_path, monkeypatch):
    ran = []

    def pretend(place, name, learner, seed, horizon, *, stop):
        ran.append((place.name, name, seed))
        return run([0.2, 0.95], name, seed) | {"place": place.name}

    monkeypatch.setattr(addition, "contest", pretend)
    monkeypatch.setattr(addition, "starts", lambda recipe: lambda seed: None)
    out = tmp_path / "addition.json"
    for seeds in (["0"], ["0", "1"]):
        words = [
            "addition.py",
            "--places",
            "chain",
            "--only",
            "uniform",
            "--out",
            str(out),
            "--seeds",
            *seeds,
        ]
        monkeypatch.setattr(sys, "argv", words)
        addition.main()
    assert ran == [("chain", "uniform", 0), ("chain", "uniform", 1)]
    stored = json.loads(out.read_text())
    assert [r["seed"] for r in stored["runs"]] == [0, 1]
    out.write_text(json.dumps(stored | {"horizons": {}}))
    with pytest.raises(SystemExit, match="other settings"):
        addition.main()
