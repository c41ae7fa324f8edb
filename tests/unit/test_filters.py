"""What is left out of an update, and what stands in for it: DAPO's numbers, and the ends of the scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from azrl.config.schema import Config, Overlong, Selfplay
from azrl.engine import Completion
from azrl.rl.baseline import CellBaseline
from azrl.rl.types import Sample
from azrl.runs import PhaseClock
from azrl.selfplay.credit import Earned
from azrl.selfplay.filters import punished, punishment, refill, telling
from azrl.selfplay.solver import Attempt, Group
from azrl.selfplay.teacher import Lesson, Teacher
from azrl.tasks.types import Kind, Task


def completion(length: int = 4, finish: str = "stop") -> Completion:
    return Completion("", (1,), tuple(range(length)), (-1.0,) * length, finish)


def group(name: str, *right: bool, finish: str = "stop", lengths: Sequence[int] = ()) -> Group:
    task = Task(Kind.DEDUCTION, "def f(x):\n    return x + 1", ("1",), ("2",), message=name)
    attempts = tuple(
        Attempt(completion(n, finish), "2", correct, "")
        for correct, n in zip(right, lengths or [4] * len(right), strict=True)
    )
    return Group(task, "", attempts)


@pytest.mark.parametrize(
    ("length", "expected"), [(1, 0.0), (16384, 0.0), (17408, 0.25), (18432, 0.5), (20480, 1.0), (30000, 1.0)]
)
def test_the_soft_punishment_is_dapos(length: int, expected: float) -> None:
    """The paper's setting: at most 20480 tokens, a cache of 4096; Eq. 13 is ((max - cache) - length) / cache."""
    assert punishment(length, 20480, Overlong(share=0.2)) == pytest.approx(expected)
    assert punishment(length, 20480, Overlong(share=0.2, penalty=0.5)) == pytest.approx(expected / 2)
    assert punishment(length, 20480, Overlong()) == 0.0


def test_long_answers_of_both_roles_earn_less() -> None:
    earned = [
        Earned(("deduction", role), "g", completion(n), 1.0)
        for role in ("solver", "proposer")
        for n in (5, 9)
    ]
    found = [e.reward for e in punished(earned, 10, Overlong(share=0.5))]
    assert found == pytest.approx([1.0, 0.2, 1.0, 0.2])
    assert punished(earned, 10, Overlong()) == earned


def test_groups_that_earned_the_same_tell_nothing() -> None:
    solver, proposer = ("deduction", "solver"), ("deduction", "proposer")
    rewards = {
        "right": [1.0, 1.0],
        "wrong": [-0.5, -0.5],
        "mixed": [1.0, -0.5],
        "malformed": [-1.0, -0.5],
        "one": [1.0],
    }
    earned = [Earned(solver, name, completion(), r) for name, values in rewards.items() for r in values]
    proposals = [Earned(proposer, "right", completion(), 0.5)] * 2
    kept = telling([*proposals, *earned])
    assert kept[:2] == proposals
    assert [e.group for e in kept[2:]] == ["mixed", "mixed", "malformed", "malformed"]
    assert telling([]) == []


def refilled(
    groups: list[Group], supply: list[list[Group]], rounds: int, others: Sequence[Group] = ()
) -> tuple[list[Group], list[tuple[int, int]]]:
    asked: list[tuple[int, int]] = []
    by_task = {g.task.id: g for part in supply for g in part}

    def draw(missing: int, number: int) -> list[Task]:
        asked.append((missing, number))
        return [g.task for g in supply[number][:missing]]

    settings = Selfplay(filter_groups=True, refill_rounds=rounds)
    found = refill(groups, draw, lambda tasks, _: [by_task[t.id] for t in tasks], settings, 96, others)
    return found, asked


def test_refill_goes_on_until_as_many_groups_tell_something() -> None:
    groups = [group("a", True, True), group("b", False, False), group("c", True, False)]
    supply = [
        [group("d", True, True), group("e", False, True)],
        [group("f", True, False)],
        [group("g", True, False)],
    ]
    found, asked = refilled(groups, supply, rounds=5)
    assert [g.task.message for g in found] == ["d", "e", "f"]
    assert asked == [(2, 0), (1, 1)]


def test_refill_ends_with_its_rounds_and_where_no_task_is_left() -> None:
    dull = [group("a", True, True), group("b", False, False)]
    supply = [[group(name, True, True)] for name in "cdef"]
    assert [g.task.message for g in refilled(dull, supply, rounds=2)[0]] == ["c", "d"]
    assert refilled(dull, [dull], rounds=3) == ([], [(2, 0)])  # only what was attempted already
    assert refilled(dull, supply, rounds=0) == ([], [])
    assert refilled([], supply, rounds=3) == ([], [])
    assert refilled(dull, supply, rounds=1, others=supply[0])[0] == []


class Recorder:
    """A learner that keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[Sequence[Sample]] = []

    def update(self, samples: Sequence[Sample], *, seed: int, progress: float = 0.0) -> dict[str, float]:
        self.given.append(samples)
        return {"loss": 0.0}


def teach(groups: list[Group], algorithm: str = "RLOO", **selfplay: Any) -> tuple[Lesson, Recorder]:
    config = Config.model_validate(
        {"selfplay": selfplay, "training": {"rl_algorithm": algorithm}, "model": {"max_response_length": 10}}
    )
    learner = Recorder()
    teacher = Teacher(config, learner, CellBaseline(), lambda key: 0, PhaseClock(), lambda: None)  # type: ignore[arg-type]
    return teacher.teach([], {}, groups, groups, step=1, progress=0.0, novelty_weight=0.0), learner


def test_filtered_groups_are_earned_but_not_trained_on() -> None:
    groups = [group("a", True, True), group("b", True, False)]
    everything, _ = teach(groups)
    lesson, learner = teach(groups, filter_groups=True)
    assert len(everything.samples) == len(everything.trained) == 4
    assert len(lesson.earned) == 4
    assert [e.group for e in lesson.trained] == [groups[1].task.id] * 2
    assert [s.advantage for s in learner.given[0]] == pytest.approx([1.5, -1.5])


def test_where_nothing_is_left_there_is_no_update() -> None:
    for groups, settings in (
        ([group("a", True, True)], {"filter_groups": True}),
        ([group("a", True, False, finish="length")], {"overlong": {"filter": True}}),
        ([], {}),
    ):
        lesson, learner = teach(groups, **settings)
        assert (lesson.samples, lesson.trained, lesson.metrics, learner.given) == ([], [], {}, [])


def test_what_was_cut_off_counts_in_the_baseline_alone() -> None:
    cut = group("a", True, False, False)
    attempts = (*cut.attempts[:2], Attempt(completion(10, "length"), None, False, "cut_off"))
    lesson, learner = teach([Group(cut.task, "", attempts)], overlong={"filter": True})
    assert len(lesson.earned) == 3
    # rewards 1, -0.5, -1: each less the mean of the others
    assert [s.advantage for s in learner.given[0]] == pytest.approx([1.75, -0.5])


def test_length_may_tell_right_answers_apart() -> None:
    lesson, _ = teach([group("a", True, True, lengths=(5, 10))], filter_groups=True, overlong={"share": 0.5})
    assert [e.reward for e in lesson.earned] == pytest.approx([1.0, 0.0])
    assert len(lesson.samples) == 2


def test_ppo_is_given_the_rewards() -> None:
    lesson, _ = teach([group("a", True, True), group("b", True, False)], algorithm="PPO")
    assert [s.advantage for s in lesson.samples] == [1.0, 1.0, 1.0, -0.5]
