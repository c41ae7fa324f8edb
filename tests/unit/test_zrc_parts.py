"""The parts of the zero-resource curriculum against computations of another kind: exact sums, all partitions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azrl.curriculum.zrc import Settings, mean_token_embedding
from azrl.curriculum.zrc.bandit import Belief, believe, correlations, prior_from, thompson, ucb
from azrl.curriculum.zrc.changepoint import ChangePoint, effective_size
from azrl.curriculum.zrc.difficulty import cluster_rates, intrinsic, majority, solve_rates
from azrl.curriculum.zrc.dpmeans import (
    choose_penalty,
    dp_means,
    farthest_first,
    match,
    objective,
    silhouette,
    sweep,
)
from azrl.curriculum.zrc.features import Projection
from azrl.curriculum.zrc.stabilise import Stabiliser, with_floor
from azrl.curriculum.zrc.table import COUNTS, TaskTable, by_cluster

# -- change points


def run_lengths_by_enumeration(data, hazard):
    """P(r_T) by summing over every way to cut the stream, in exact fractions."""
    joint = dict.fromkeys(range(len(data) + 1), Fraction(0))
    for cuts in itertools.product([0, 1], repeat=len(data)):  # cuts[t]: a change right after observation t
        weight = Fraction(1)
        start = 0
        for t, cut in enumerate(cuts):
            weight *= hazard if cut else 1 - hazard
            if cut or t == len(data) - 1:
                won = sum(s for s, _ in data[start : t + 1])
                lost = sum(n - s for s, n in data[start : t + 1])
                beta = Fraction(math.factorial(won) * math.factorial(lost), math.factorial(won + lost + 1))
                weight *= beta * math.prod(math.comb(n, s) for s, n in data[start : t + 1])
                last, start = start, t + 1
        joint[0 if cuts[-1] else len(data) - last] += weight
    total = sum(joint.values())
    return {run: float(weight / total) for run, weight in joint.items()}


@pytest.mark.parametrize(
    "data",
    [
        [(1, 4), (0, 4), (4, 4), (3, 4), (4, 4)],
        [(0, 8), (1, 8), (0, 3), (7, 8), (8, 8), (8, 8), (1, 8)],
        [(2, 5)],
    ],
)
def test_run_lengths_are_those_of_all_segmentations(data):
    detector = ChangePoint(hazard=0.1, window=2, threshold=0.6)
    for successes, trials in data:
        detector.observe(successes, trials)
    expected = run_lengths_by_enumeration(data, Fraction(1, 10))
    found = dict(zip(detector.runs.tolist(), np.exp(detector.log_mass).tolist(), strict=True))
    assert found == pytest.approx({run: p for run, p in expected.items() if run in found}, abs=1e-12)
    assert sum(p for run, p in expected.items() if run not in found) < 1e-8
    assert detector.recent() == pytest.approx(sum(p for run, p in expected.items() if run <= 2))


def test_the_published_statistic_cannot_fire_and_this_one_does():
    detector = ChangePoint(hazard=0.01, window=5, threshold=0.6)
    announced = []
    for step in range(60):
        if detector.observe(2 if step < 40 else 29, 30):
            announced.append(step)
        newest = np.exp(detector.log_mass[detector.runs == 0])
        assert newest == pytest.approx(0.01)  # P(run length 0) is the hazard, whatever was seen
    assert announced == [40]


def test_nothing_is_announced_of_a_new_or_a_steady_stream():
    detector = ChangePoint(hazard=0.01, window=5, threshold=0.6)
    assert [detector.observe(15 + step % 3, 32) for step in range(300)] == [False] * 300
    assert len(detector.runs) <= 200


def test_steps_without_trials_and_impossible_counts():
    detector = ChangePoint(hazard=0.01, window=5, threshold=0.6)
    detector.observe(1, 4)
    before = detector.state_dict()
    assert detector.observe(0, 0) is False
    for successes, trials in [(-1, 4), (5, 4), (math.nan, 4), (1, math.inf)]:
        with pytest.raises(ValueError, match="successes"):
            detector.observe(successes, trials)
    assert detector.state_dict() == before


def test_effective_size():
    assert effective_size(np.full(8, 8.0), 0.2) == pytest.approx(64 / 2.4)
    assert effective_size(np.full(8, 8.0), 0.0) == 64
    assert effective_size(np.full(8, 8.0), 1.0) == 8
    assert effective_size(np.ones(8), 0.5) == 8
    assert effective_size(np.zeros(0), 0.5) == 0


# -- clusters


def partitions(n):
    """All ways to label n points, as restricted growth strings."""

    def grow(prefix, used):
        if len(prefix) == n:
            yield np.array(prefix)
            return
        for label in range(used + 1):
            yield from grow([*prefix, label], max(used, label + 1))

    yield from grow([], 0)


@pytest.mark.parametrize("seed", range(6))
def test_dp_means_finds_the_best_of_all_partitions_where_clusters_are_apart(seed):
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [9.0, 9.0], [0.0, 9.0]])
    points = centres[rng.integers(1 + seed % 3, size=7)] + 0.3 * rng.standard_normal((7, 2))
    penalty = 4.0
    best = min(partitions(7), key=lambda labels: objective(points, labels, penalty))
    assert dp_means(points, penalty).tolist() == best.tolist()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), penalty=st.floats(0.05, 9))
def test_dp_means_is_never_better_than_the_best_and_its_means_are_apart(seed, penalty):
    points = np.random.default_rng(seed).standard_normal((6, 2))
    labels = dp_means(points, penalty)
    best = min(objective(points, other, penalty) for other in partitions(6))
    assert objective(points, labels, penalty) >= best - 1e-9
    means = [points[labels == k].mean(axis=0) for k in range(labels.max() + 1)]
    for one, other in itertools.combinations(means, 2):
        assert ((one - other) ** 2).sum() >= penalty / 2


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), penalty=st.floats(0.01, 20))
def test_no_sweep_raises_the_objective(seed, n, penalty):
    points = np.random.default_rng(seed).standard_normal((n, 3))
    labels = np.zeros(n, dtype=np.int64)
    for _ in range(10):
        means = np.array([points[labels == k].mean(axis=0) for k in range(labels.max() + 1)])
        swept = np.unique(sweep(points, means, penalty), return_inverse=True)[1]
        assert objective(points, swept, penalty) <= objective(points, labels, penalty) + 1e-9
        labels = swept


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 40), size=st.integers(1, 6), penalty=st.floats(0.01, 9))
def test_labels_are_dense_and_no_cluster_is_too_small(seed, n, size, penalty):
    labels = dp_means(np.random.default_rng(seed).standard_normal((n, 2)), penalty, min_size=size)
    sizes = np.bincount(labels) if n else np.zeros(0)
    assert len(labels) == n
    assert (sizes >= 1).all()
    assert len(sizes) <= 1 or sizes.min() >= size


def test_lone_points_are_dissolved():
    lone = np.array([[0.0], [0.1], [5.0], [5.1], [9.0]])
    assert dp_means(lone, 1.0).tolist() == [0, 0, 1, 1, 2]
    assert dp_means(lone, 1.0, min_size=2).tolist() == [0, 0, 1, 1, 1]


def test_the_penalty_falls_between_planted_clusters():
    rng = np.random.default_rng(0)
    topic = rng.integers(5, size=200)
    points = 10.0 * np.eye(5)[topic] + 0.5 * rng.standard_normal((200, 5))
    labels = dp_means(points, choose_penalty(points, clusters=8))
    assert len({(a, b) for a, b in zip(labels.tolist(), topic.tolist(), strict=True)}) == 5
    assert labels.max() == 4


@pytest.mark.parametrize("points", [np.zeros((6, 2)), np.zeros((1, 1)), np.array([[0.0], [1.0]])])
def test_a_penalty_for_points_that_have_no_structure(points):
    penalty = choose_penalty(points, clusters=8)
    assert penalty > 0
    assert len(dp_means(points, penalty)) == len(points)


def test_farthest_first_and_silhouette_by_hand():
    line = np.array([[0.0], [4.0], [5.0], [11.0]])  # mean 5
    assert farthest_first(line, 9).tolist() == [6.0, 5.0, 1.0, 0.0]  # 11, 0, 4, 5
    labels = np.array([0, 1, 1, 2])
    # 4: own mean 4.5 at .5, other 0 at 4; 5: own at .5, other 0 at 5; the lone ones count 0.
    assert silhouette(line, labels) == pytest.approx((1 - 0.5 / 4 + 1 - 0.5 / 5) / 4)
    assert silhouette(line, np.zeros(4, dtype=np.int64)) == 0


def test_new_labels_continue_the_old_ones_they_share_most_with():
    new, old = np.array([0, 0, 0, 1, 1, 2]), np.array([7, 7, 3, 3, 3, 7])
    assert match(new, old) == {0: 7, 1: 3}


# -- counts and difficulty


def test_counts_fade_by_their_half_lives():
    table = TaskTable(half_life=2.0, recent_half_life=1.0)
    table.add(["a", "b"], 0, np.array([np.nan, 0.25]), strength=8.0)
    table.record(0, 1, np.array([1.0, 0.0, 1.0, 1.0]), np.array([1.0]))
    counts = table.counts(3)
    assert counts["won"].tolist() == pytest.approx([1.5, 0])
    assert counts["tried"].tolist() == pytest.approx([2, 0])
    assert counts["recent_tried"].tolist() == pytest.approx([1, 0])
    assert counts["spread"].tolist() == pytest.approx([3 / 12 / 2, 0])
    assert counts["failed"].tolist() == pytest.approx([0.5, 0])
    assert counts["guess_won"].tolist() == pytest.approx([0, 2 * 0.5**1.5])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 60), clusters=st.integers(1, 9))
def test_any_clustering_conserves_every_count(seed, n, clusters):
    rng = np.random.default_rng(seed)
    tasks = {name: rng.random(n) for name in COUNTS}
    for _ in range(2):
        sums = by_cluster(tasks, rng.integers(clusters, size=n), clusters)
        for name in COUNTS:
            assert sums[name].sum() == pytest.approx(tasks[name].sum())


def counts_of(**columns):
    size = len(next(iter(columns.values())))
    return {name: np.array(columns.get(name, [0.0] * size), dtype=float) for name in COUNTS}


def test_solve_rates_and_difficulty_by_hand():
    tasks = counts_of(won=[3, 0, 0], tried=[4, 0, 0], failed=[2, 0, 0], checked=[4, 0, 0], guessed=[0, 0, 4])
    rates = solve_rates(tasks, np.full(3, 0.5), strength=4.0)
    assert rates.tolist() == pytest.approx([0.625, 0.5, 0.25])
    # (1 - w)(1 - a) + w v, v = (2 + 4 * .375) / 8; where nothing was verified, 1 - a
    assert intrinsic(tasks, rates, 0.25, 4.0).tolist() == pytest.approx([0.390625, 0.5, 0.75])
    clusters = counts_of(won=[8, 0], tried=[16, 0])
    overall = (8 + 2) / 20
    assert cluster_rates(clusters, 4.0).tolist() == pytest.approx([(8 + 4 * overall) / 20, overall])


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["5", "4", "5"], (1.0, 0.0, 1.0)),
        (["4", "5"], (1.0, 0.0)),
        ([None, None, "5"], (0.0, 0.0, 1.0)),
        ([None], (0.0,)),
        ([], ()),
    ],
)
def test_majority(answers, expected):
    assert majority(answers) == expected


# -- what practice is worth


def test_correlation_by_hand_and_from_simulated_groups():
    two = counts_of(won=[4], tried=[8], spread=[2 * (2 * 2) / (4 * 3)], groups=[2])
    assert correlations(two, 0.2)[0] == pytest.approx(1 - (2 / 3 + 20 * 0.8 * 0.25) / (22 * 0.25))
    rng = np.random.default_rng(0)
    chance = rng.beta(2.0, 2.0, size=4000)  # its correlation is 1 / (2 + 2 + 1)
    solved = rng.binomial(8, chance)
    groups = counts_of(
        won=[solved.sum()], tried=[32000], spread=[(solved * (8 - solved) / 56).sum()], groups=[4000]
    )
    assert correlations(groups, 0.5)[0] == pytest.approx(0.2, abs=0.02)
    assert correlations(counts_of(won=[0]), 0.3)[0] == pytest.approx(0.3)


def belief(recent_won, recent_tried, won, tried):
    counts = counts_of(
        won=[won], tried=[tried], recent_won=[recent_won], recent_tried=[recent_tried], groups=[tried / 8]
    )
    return believe(counts, prior_from(counts, 4.0), np.array([0.0]), 0.04, 0.1)


def test_progress_tells_movement_from_noise():
    assert belief(0, 0, 0, 0).progress[0] == pytest.approx(1.0)  # nothing known: worth a try
    assert belief(1000, 2000, 5000, 10000).progress[0] < 0.15  # a coin, thrown often
    assert belief(1400, 2000, 5000, 10000).progress[0] > 0.95
    assert belief(600, 2000, 5000, 10000).progress[0] > 0.95  # forgetting counts as well


def test_learnability_on_the_arcsine_scale():
    rates = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    known = Belief(np.arcsin(np.sqrt(rates)), np.zeros(5), np.array([0, 0, 0.2, 0, 0]), np.ones(5))
    assert known.learnability().tolist() == pytest.approx([0, 0.36, 0.8, 0.36, 0])


def test_thompson_shares_are_the_probabilities_of_being_best():
    two = Belief(np.array([0.5, 0.6]), np.array([0.1, 0.05]), np.zeros(2), np.ones(2))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    first = np.sin(2 * (0.5 + 0.1 * nodes)) ** 2
    second = np.sin(2 * (0.6 + 0.05 * nodes)) ** 2
    exact = (np.outer(weights, weights) * (first[:, None] > second[None, :])).sum()
    found = thompson(two, 100_000, np.random.default_rng(0))
    assert found[0] == pytest.approx(exact, abs=0.02)
    alike = Belief(np.full(3, 0.5), np.zeros(3), np.zeros(3), np.ones(3))
    assert thompson(alike, 10, np.random.default_rng(0)).tolist() == pytest.approx([1 / 3] * 3)


def test_ucb_by_hand():
    two = Belief(np.full(2, math.pi / 4), np.zeros(2), np.array([0.0, 0.1]), np.ones(2))
    index = [1 + 0.2 * math.sqrt(2 * math.log(12) / 11), 0.9 + 0.2 * math.sqrt(2 * math.log(12) / 2)]
    odds = math.exp((index[0] - index[1]) / 0.05)
    assert ucb(two, np.array([10.0, 1.0]), 0.2, 0.05)[0] == pytest.approx(odds / (1 + odds))


# -- stabilisation, features, settings


def test_stabilisation_fades_and_the_penalty_falls_geometrically():
    stabiliser = Stabiliser(steps=50, kl_base=0.1, kl_scale=2.0)
    rho = 2.0 ** (-1 / 50)
    for since in (0, 1, 25, 50):
        assert stabiliser.multiplier(since) == pytest.approx(2.0 * rho**since)
    assert (stabiliser.multiplier(80), stabiliser.multiplier(None)) == (1.0, 1.0)
    old, new = np.array([0.8, 0.0, 0.0]), np.array([0.2, 0.3, 0.5])
    assert stabiliser.mix(old, new, 0).tolist() == [1.0, 0.0, 0.0]
    assert stabiliser.mix(old, new, 25).tolist() == pytest.approx([0.6, 0.15, 0.25])
    assert stabiliser.mix(np.zeros(3), new, 0).tolist() == new.tolist()
    assert with_floor(np.array([1.0, 0.0]), 0.1).tolist() == pytest.approx([0.95, 0.05])


def test_the_projection_keeps_distances_of_directions_up_to_one_scale():
    rng = np.random.default_rng(0)
    plane = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 30))
    projection = Projection()
    projection.fit(plane, dimensions=16)
    placed = projection(3.0 * plane)  # lengths do not matter
    unit = plane / np.linalg.norm(plane, axis=1, keepdims=True)
    ratio = np.linalg.norm(placed[1:] - placed[:-1], axis=1) / np.linalg.norm(unit[1:] - unit[:-1], axis=1)
    assert ratio == pytest.approx(np.full(39, ratio[0]))
    assert placed.var(axis=0).sum() == pytest.approx(1.0)


def test_token_embeddings_are_means_of_a_copy():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [4.0, 4.0]])
    embed = mean_token_embedding(lambda text: [int(c) for c in text], vectors)
    vectors += 100.0
    assert embed("012").tolist() == pytest.approx([5 / 3, 5 / 3])
    with pytest.raises(ValueError, match="no tokens"):
        embed("")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hazard": 0.0}, "hazard"),
        ({"rule": "greedy"}, "'thompson' or 'ucb'"),
        ({"floor": 1.5}, "floor must lie between 0 and 1"),
        ({"window": 2.5}, "window must be a whole number"),
        ({"half_life": math.nan}, "half_life must be a finite number"),
        ({"recent_half_life": 50.0}, "shorter than half_life"),
        ({"soft_threshold": 0.95}, "must not exceed"),
        ({"penalty": -1.0}, "penalty"),
        ({"kl_scale": 0.5}, "kl_scale"),
        ({"lambda_": 1.0}, "unknown settings lambda_"),
    ],
)
def test_wrong_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Settings.from_dict(change)


def test_settings_survive_a_dictionary():
    assert Settings.from_dict(Settings(clusters=3).to_dict()) == Settings(clusters=3)
