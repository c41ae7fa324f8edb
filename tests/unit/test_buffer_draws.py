"""What a task weighs, and how tasks are drawn and evicted by weight: arithmetic, without a file."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from buffer_tasks import rng
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from azrl.buffer import TaskBuffer
from azrl.buffer.draws import distinct, draw, lowest, surplus
from azrl.buffer.weights import Weighting, learnability

# Weights


@pytest.mark.parametrize(
    ("alpha", "beta", "expected"),
    [(1, 1, 1 / 6), (5, 5, 5 / 22), (9, 1, 9 / 110), (1, 9, 9 / 110), (2, 1, 1 / 6), (1e9, 1e9, 0.25)],
)
def test_learnability_by_hand(alpha, beta, expected):
    assert math.isclose(learnability(alpha, beta), expected, rel_tol=1e-8)


def test_learnability_is_the_mean_of_p_times_one_minus_p():
    p = rng().beta(3.2, 1.7, size=400_000)
    assert abs(learnability(3.2, 1.7) - (p * (1 - p)).mean()) < 5e-4


def test_posterior_by_hand():
    weighting = Weighting(decay=0.5)
    assert weighting.posterior(1, 1, 6, 8) == (7, 3)
    assert weighting.posterior(7, 3, 0, 8) == (1 + 0.5 * 6, 1 + 0.5 * 2 + 8)


def test_weight_by_hand():
    weighting = Weighting(novelty=0.5, freshness_steps=100)
    fresh, stale = weighting.log_weight(1, 1, 0, 500), weighting.log_weight(1, 1, 0, 300)
    assert math.isclose(math.exp(stale - fresh), 0.25)
    assert math.isclose(math.exp(weighting.log_weight(5, 5, 3, 500) - fresh), (5 / 22) * 6 / 2)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("decay", 0), ("decay", 1.1), ("novelty", -1), ("novelty", math.nan), ("freshness_steps", 0)],
)
def test_settings_out_of_range(tmp_path, setting, value):
    with pytest.raises(ValueError, match=setting):
        TaskBuffer(tmp_path / "b.sqlite", **{setting: value})
    assert not list(tmp_path.iterdir())


# Draws


def test_draw_follows_successive_sampling():
    """Golden: probability of each ordered pair is w_i/W x w_j/(W - w_i)."""
    weights = np.array([1.0, 2.0, 3.0, 6.0])
    generator, n = rng(), 40_000
    seen = Counter(tuple(draw(np.log(weights), 2, generator).tolist()) for _ in range(n))
    for i in range(4):
        for j in range(4):
            if i != j:
                expected = weights[i] / 12 * weights[j] / (12 - weights[i])
                assert abs(seen[i, j] / n - expected) < 5 * math.sqrt(expected / n)


@settings(deadline=None)
@given(
    logs=hnp.arrays(np.float64, st.integers(0, 60), elements=st.floats(-1e6, 1e6)),
    n=st.integers(0, 80),
    seed=st.integers(0, 1000),
)
def test_draw_never_repeats_and_never_runs_dry(logs, n, seed):
    drawn = draw(logs, n, rng(seed)).tolist()
    assert len(drawn) == len(set(drawn)) == min(n, len(logs))


@settings(deadline=None)
@given(labels=st.lists(st.integers(0, 5), max_size=40), k=st.integers(0, 8), seed=st.integers(0, 1000))
def test_distinct_takes_one_of_each_label(labels, k, seed):
    array = np.array(labels, dtype=np.int64)
    chosen = distinct(np.arange(len(labels)), array, k, rng(seed))
    taken = array[chosen].tolist()
    assert len(taken) == len(set(taken)) == min(k, len(set(labels)))


@given(
    values=hnp.arrays(np.float64, st.integers(0, 40), elements=st.integers(0, 5).map(float)),
    n=st.integers(0, 50),
)
def test_lowest_is_a_stable_sort(values, n):
    assert lowest(values, n).tolist() == sorted(np.argsort(values, kind="stable")[:n].tolist())


@given(data=st.data(), size=st.integers(1, 60))
def test_surplus_keeps_quotas_and_takes_the_lowest(data, size):
    count = data.draw(st.integers(0, 120))
    kinds = data.draw(hnp.arrays(np.int8, count, elements=st.integers(0, 2)))
    logs = data.draw(hnp.arrays(np.float64, count, elements=st.integers(0, 9).map(float)))
    gone = surplus(logs, kinds, size)
    assert len(gone) == max(0, count - size)
    kept = np.setdiff1d(np.arange(count), gone)
    if not len(gone):
        return
    share = size // len(np.unique(kinds))
    for kind in np.unique(kinds):
        before, after = int((kinds == kind).sum()), int((kinds[kept] == kind).sum())
        assert after >= min(before, share)
        if after > share:  # it could have given more, so all that it kept is worth no less than all that went
            assert logs[kept][kinds[kept] == kind].min() >= logs[gone].max()
