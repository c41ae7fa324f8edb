"""The sync copies and proves, and the seeds behind every draw."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hash_seeds import printed
from hypothesis import given
from hypothesis import strategies as st

from azrl.engine import ScriptedEngine, SyncMismatch
from azrl.seeding import derive, generator
from azrl.selfplay.scripted import ScriptedLearner
from azrl.selfplay.sync import Sync

PROBES = [([1, 2], [3, 4, 5]), ([6], [7])]


class Apart(ScriptedLearner):
    """A learner whose scores are off by these, token by token."""

    def __init__(self, *gaps: float) -> None:
        super().__init__()
        self.gaps = list(gaps)

    def score(self, sequences):
        gaps = iter(self.gaps)
        return [[value + next(gaps) for value in row] for row in super().score(sequences)]


def test_a_sync_hands_over_the_weights_and_says_how_far_apart_they_are() -> None:
    engine = ScriptedEngine(lambda prompt, u, k: "")
    learner = Apart(0.0, 0.004, 0.0, 0.0)
    assert Sync(engine, learner, PROBES, 0.1)() == pytest.approx({"sync/worst": 0.004, "sync/mean": 0.001})
    assert engine.weights == learner.weights()
    learner.skill = 0.9
    Sync(engine, learner, PROBES, 0.1)()
    assert engine.weights == {"skill": 0.9}


@pytest.mark.parametrize("gaps", [(0.0, 0.11, 0.0, 0.0), (0.02,) * 4, (0.0, float("nan"), 0.0, 0.0)])
def test_a_sync_that_proves_nothing_stops_the_run(gaps: tuple[float, ...]) -> None:
    """One token too far off, all of them a little, or one that is no number."""
    engine = ScriptedEngine(lambda prompt, u, k: "")
    with pytest.raises(SyncMismatch, match="disagree after a sync"):
        Sync(engine, Apart(*gaps), PROBES, 0.1)()


def test_seeds_are_blake2b_of_the_key() -> None:
    digest = hashlib.blake2b(b"42\x007\x00propose", digest_size=8).digest()
    expected = sum(byte << (8 * i) for i, byte in enumerate(digest)) >> 1
    assert derive(42, 7, "propose") == expected
    assert derive(4, 27, "propose") != expected


def test_seeds_do_not_depend_on_the_process() -> None:
    program = "from azrl.seeding import derive; print(derive(42, 'a', -1))"
    assert int(printed(program)) == derive(42, "a", -1)


@given(st.lists(st.one_of(st.integers(), st.text(alphabet="abc")), min_size=1, max_size=4))
def test_any_key_gives_a_seed_of_63_bits(key: list[int | str]) -> None:
    assert 0 <= derive(*key) < 1 << 63


def test_generators_of_one_key_agree_and_of_two_do_not() -> None:
    np.testing.assert_array_equal(generator(1, 2, "x").random(5), generator(1, 2, "x").random(5))
    assert not np.array_equal(generator(1, 2, "x").random(5), generator(1, 3, "x").random(5))
