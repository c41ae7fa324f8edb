"""The reward that steers the proposer to the frontier: numbers worked out by hand, and what holds for all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azrl.config.schema import Selfplay
from azrl.selfplay.rewards import proposer_reward
from azrl.selfplay.steer import frontier


@pytest.mark.parametrize(
    ("target", "twelfths"),
    [
        (0.5, (0, 3, 6, 9, 12, 9, 6, 3, 0)),
        (0.25, (0, 6, 12, 10, 8, 6, 4, 2, 0)),
        (0.75, (0, 2, 4, 6, 8, 10, 12, 6, 0)),
    ],
)
def test_of_eight_rollouts(target: float, twelfths: tuple[int, ...]) -> None:
    rewards = [frontier(solved, 8, target=target, off=0, keep=0.5) for solved in range(9)]
    assert rewards == pytest.approx([n / 12 for n in twelfths])


@pytest.mark.parametrize(("off", "keep", "reward"), [
    (0, 0.5, 1.0), (1, 0.5, 0.5), (2, 0.5, 0.25), (3, 0.8, 0.512), (5, 1.0, 1.0), (0, 0.0, 1.0), (1, 0.0, 0.0),
])  # fmt: skip
def test_each_statement_off_leaves_its_share(off: int, keep: float, reward: float) -> None:
    assert frontier(2, 4, target=0.5, off=off, keep=keep) == pytest.approx(reward)


@given(
    attempts=st.integers(1, 64),
    target=st.floats(0.01, 0.99),
    keep=st.floats(0, 1),
    off=st.integers(0, 8),
    data=st.data(),
)
def test_nearer_to_what_was_asked_for_never_pays_less(
    attempts: int, target: float, keep: float, off: int, data: st.DataObject
) -> None:
    solved = data.draw(st.integers(0, attempts))
    reward = frontier(solved, attempts, target=target, off=off, keep=keep)
    assert 0.0 <= reward <= 1.0
    assert frontier(solved, attempts, target=target, off=off + 1, keep=keep) <= reward
    nearer = solved + (1 if solved / attempts < target else -1)
    passed = (nearer / attempts - target) * (solved / attempts - target) < 0
    if not passed and 0 <= nearer <= attempts:
        assert frontier(nearer, attempts, target=target, off=off, keep=keep) >= reward - 1e-12


@pytest.mark.parametrize(
    "wrong",
    [{"target": 0.0}, {"target": 1.0}, {"keep": 1.1}, {"off": -1}, {"solved": 9}, {"target": float("nan")}],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    sound = {"solved": 4, "attempts": 8, "target": 0.5, "off": 0, "keep": 0.5}
    with pytest.raises(ValueError, match="want a target"):
        frontier(**(sound | wrong))  # type: ignore[arg-type]


def price(solved: int, off: int = 0, seen: int = 0, **settings: float | str) -> float:
    chosen = Selfplay.model_validate({"proposer_reward": "frontier", **settings})
    return proposer_reward(solved, 8, off=off, times_seen=seen, novelty_weight=0.5, settings=chosen)


def test_the_proposer_is_paid_by_it_when_it_is_chosen() -> None:
    assert price(2, target_solve_rate=0.25) == 1.0
    assert price(4, off=2) == 0.25
    assert price(4, off=2, spec_keep=1.0) == 1.0
    assert price(4, off=1, seen=2) == 0.25
    assert [price(solved, boundary_reward=-0.5) for solved in (0, 8)] == [-0.5, -0.5]
    assert price(4, off=1, spec_bonus=0.2) == pytest.approx(0.3)


def test_absolute_zeros_own_rewards_take_no_notice_of_it() -> None:
    for form, reward in (("one_minus", 0.75), ("variance", 0.75)):
        assert price(2, off=3, proposer_reward=form, target_solve_rate=0.9, spec_keep=0.0) == reward
    assert Selfplay().proposer_reward == "one_minus"
