"""What completions earn: the table of the paper, and who earns nothing."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from azrl.config.schema import FormatPenalty, Selfplay
from azrl.engine import Completion
from azrl.selfplay.credit import Earned, proposer_earnings, shuffled, solver_earnings
from azrl.selfplay.proposer import Proposal
from azrl.selfplay.rewards import learnability, proposer_reward, solver_reward
from azrl.selfplay.solver import Attempt, Group
from azrl.tasks.gate import Reason, Verdict
from azrl.tasks.types import Draft, Kind, Spec, Task

PROGRAM = "def f(x):\n    return x + 1"


def test_solver_rewards() -> None:
    penalty = FormatPenalty()
    assert solver_reward(True, True, penalty) == 1.0
    assert solver_reward(False, True, penalty) == -0.5
    assert solver_reward(False, False, penalty) == -1.0
    other = FormatPenalty(formatted_wrong=0.0, format_error=-0.2)
    assert [solver_reward(False, formed, other) for formed in (True, False)] == [0.0, -0.2]


@pytest.mark.parametrize(
    ("solved", "one_minus", "variance"),
    [(0, 0.0, 0.0), (1, 0.875, 0.4375), (2, 0.75, 0.75), (4, 0.5, 1.0), (7, 0.125, 0.4375), (8, 0.0, 0.0)],
)
def test_learnability_of_eight_rollouts(solved: int, one_minus: float, variance: float) -> None:
    assert learnability(solved, 8, Selfplay()) == one_minus
    assert learnability(solved, 8, Selfplay(proposer_reward="variance")) == variance


def test_the_boundary_is_a_setting() -> None:
    azr = Selfplay(boundary_reward=-0.5)
    assert [learnability(solved, 4, azr) for solved in (0, 2, 4)] == [-0.5, 0.5, -0.5]


def price(
    solved: int = 4, *, off: int = 0, seen: int = 0, weight: float = 0.0, **settings: float | str
) -> float:
    return proposer_reward(
        solved, 8, off=off, times_seen=seen, novelty_weight=weight, settings=Selfplay.model_validate(settings)
    )  # fmt: skip


def test_a_program_seen_before_earns_less_but_never_gains_by_a_penalty() -> None:
    assert price(seen=3) == 0.5
    assert price(seen=3, weight=0.5) == pytest.approx(0.5 / 2.5)
    assert price(seen=0, weight=0.5) == 0.5
    assert price(0, seen=3, weight=0.5, boundary_reward=-0.5) == -0.5


def test_the_bonus_for_meeting_the_spec_goes_both_ways() -> None:
    assert price(off=0, spec_bonus=0.25) == 0.75
    assert price(off=1, spec_bonus=0.25) == 0.25
    assert price(8, off=2, spec_bonus=0.25) == -0.25


def completion(text: str = "a") -> Completion:
    return Completion(text, (1,), (97, 256), (-0.1, -0.1), "stop")


def task(kind: Kind = Kind.DEDUCTION, value: str = "1") -> Task:
    return Task(kind, PROGRAM, (value,), ("2",), bin=1)


def group(of: Task, *verdicts: bool | None, answer: str | None = "2") -> Group:
    return Group(of, "p", tuple(Attempt(completion(), answer, verdict, "") for verdict in verdicts))


def proposal(size: int = 1, kind: Kind = Kind.DEDUCTION, draft: bool = True) -> Proposal:
    parsed = Draft(kind, PROGRAM, ("1",)) if draft else None
    return Proposal(f"{kind}:{size}", Spec(kind, size), (), "p", completion(), parsed, "parsed")


def verdict(of: Task | None, reason: Reason = Reason.ADMITTED) -> Verdict:
    return Verdict(Draft(Kind.DEDUCTION, PROGRAM, ("1",)), of, reason, key="k")


def earned(
    proposals: list[Proposal], verdicts: dict, groups: dict, seen: int = 0, **settings: float
) -> list[Earned]:
    return proposer_earnings(
        proposals, verdicts, groups, lambda key: seen, 1.0, Selfplay.model_validate(settings)
    )


def test_every_judged_attempt_earns_in_its_kinds_cell() -> None:
    one, two = task(), task(Kind.ABDUCTION)
    earnings = solver_earnings([group(one, True, False, None), group(two, False, answer=None)], Selfplay())
    assert [(e.cell, e.group, e.reward) for e in earnings] == [
        (("deduction", "solver"), one.id, 1.0),
        (("deduction", "solver"), one.id, -0.5),
        (("abduction", "solver"), two.id, -1.0),
    ]


def test_an_admitted_proposal_earns_by_the_attempts_at_its_task() -> None:
    made = task()
    [only] = earned([proposal()], {0: verdict(made)}, {made.id: group(made, True, False, False, False)})
    assert (only.cell, only.group, only.reward) == (("deduction", "proposer"), "proposer deduction:1", 0.75)
    attempts = {made.id: group(made, True, False)}
    [seen] = earned([proposal()], {0: verdict(made)}, attempts, seen=3)
    assert seen.reward == 0.125
    [missed] = earned([proposal(size=2)], {0: verdict(made)}, attempts, spec_bonus=0.1)
    assert missed.reward == pytest.approx(0.4)


def test_refused_and_unparsable_proposals_pay() -> None:
    earnings = earned([proposal(draft=False), proposal()], {1: verdict(None, Reason.TRIVIAL)}, {})
    assert [e.reward for e in earnings] == [-1.0, -1.0]


def test_what_is_nobodys_fault_or_still_waits_earns_nothing() -> None:
    made, unjudged = task(), task(value="7")
    verdicts = {
        0: verdict(None, Reason.INFRA),
        1: verdict(None, Reason.HELD_OUT),
        2: verdict(made),
        3: verdict(unjudged),
    }
    assert earned([proposal() for _ in verdicts], verdicts, {unjudged.id: group(unjudged, None, None)}) == []


def test_shuffling_permutes_each_cell_and_moves_nothing_else() -> None:
    cells = [("deduction", "solver"), ("abduction", "solver"), ("deduction", "proposer")]
    before = [Earned(cells[i % 3], str(i), completion(str(i)), float(i)) for i in range(60)]
    after = shuffled(before, np.random.default_rng(0))
    assert [(e.cell, e.group, e.completion) for e in after] == [
        (e.cell, e.group, e.completion) for e in before
    ]
    for cell in cells:
        ours = [e.reward for e in before if e.cell == cell]
        theirs = [e.reward for e in after if e.cell == cell]
        assert Counter(ours) == Counter(theirs)
        assert ours != theirs
    assert shuffled(before, np.random.default_rng(0)) == after
    assert shuffled([], np.random.default_rng(0)) == []


def test_every_order_of_shuffled_rewards_is_as_likely() -> None:
    three = [Earned(("deduction", "solver"), "g", completion(), float(i)) for i in range(3)]
    rng = np.random.default_rng(1)
    orders = Counter(tuple(e.reward for e in shuffled(three, rng)) for _ in range(6000))
    assert len(orders) == 6
    assert sum((n - 1000) ** 2 / 1000 for n in orders.values()) < 20.5  # chi-square, 5 degrees, p = 0.001
