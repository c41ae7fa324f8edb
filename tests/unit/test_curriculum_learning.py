"""DUMP under its own names: what the seed's code expects of them, and the defects that are gone."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hash_seeds import printed

from azrl.curriculum import CurriculumController, LearnabilityEstimator
from azrl.curriculum.curriculum_learning import CurriculumSampler

ROWS = [{"data_source": f"kk{i % 3}", "prompt": str(i)} for i in range(60)]


def test_an_estimator_keeps_the_last_300_and_counts_for_ever():
    estimator = LearnabilityEstimator()
    estimator.update([3.0] * 100, [5.0] * 100)
    estimator.update([-1.0] * 250 + [1.0] * 50, [-0.5] * 300)
    assert (estimator.mu, estimator.n_samples, estimator.total_reward) == (0.5, 400, 100.0)
    assert len(estimator.recent_rewards) == len(estimator.recent_advantages) == 300
    assert (estimator.alpha, estimator.beta) == (101.0, 301.0)
    assert estimator.recent_reward_rate == 50 / 300
    assert estimator.expected_value == 101 / 402 * 0.5
    assert LearnabilityEstimator().recent_reward_rate == 0.0
    before = (estimator.mu, estimator.n_samples)
    estimator.update([], [])
    assert (estimator.mu, estimator.n_samples) == before


@pytest.mark.parametrize(
    ("rewards", "advantages"), [([1.0], [1.0, 2.0]), ([math.nan], [1.0]), ([1.0], [math.inf])]
)
def test_an_estimator_refuses_what_does_not_pair_up_or_is_not_finite(rewards, advantages):
    estimator = LearnabilityEstimator()
    estimator.update([1.0], [1.0])
    with pytest.raises(ValueError, match="finite"):
        estimator.update(rewards, advantages)
    assert estimator == LearnabilityEstimator(1.0, 2.0, 1.0, 1, 1.0, 300, [1.0], [1.0])


def test_weights_are_the_published_softmax_of_a_confidence_bound():
    controller = CurriculumController(["a", "b", "b", "c"])
    assert controller.compute_sampling_weights() == pytest.approx(dict.fromkeys("abc", 1 / 3))
    controller.estimators["a"].update([0.0] * 10, [0.8, -0.8] * 5)
    controller.estimators["b"].update([0.0] * 30, [0.1] * 30)
    scores = [
        0.8 + math.sqrt(2 * math.log(41) / 11),
        0.1 + math.sqrt(2 * math.log(41) / 31),
        math.sqrt(2 * math.log(41)),
    ]
    powers = [math.exp(10 * score) for score in scores]
    wanted = {name: power / sum(powers) for name, power in zip("abc", powers, strict=True)}
    assert controller.compute_sampling_weights() == pytest.approx(wanted, abs=1e-9)
    assert controller.weight_history["a"] == pytest.approx([1 / 3, wanted["a"]])


def test_the_trend_is_the_slope_of_the_last_weights():
    controller = CurriculumController(["a"], trend_window=5)
    history = [9.0, 9.0, 0.1, 0.4, 0.2, 0.5, 0.7]
    assert controller.compute_trend(history) == pytest.approx(np.polyfit(range(5), history[-5:], 1)[0])
    assert controller.compute_trend([0.3]) == 0.0


def test_an_epoch_has_as_many_draws_as_rows_and_follows_the_weights():
    sampler = CurriculumSampler(ROWS, batch_size=16, seed=1)
    epoch = list(sampler)
    assert len(epoch) == len(sampler) == 60
    assert set(epoch) <= set(range(60))
    assert list(sampler) != epoch
    sampler.update_weights({"kk1": [0.0] * 999, "kk0": [0.0] * 999, "kk2": [1.0] * 999},
                           {"kk1": [0.0] * 999, "kk0": [0.0] * 999, "kk2": [1.0] * 999})  # fmt: skip
    assert all(ROWS[row]["data_source"] == "kk2" for row in sampler)
    assert sampler.get_source_stats()["kk2"]["sampling_weight"] > 0.99
    assert sampler.get_source_stats()["weight_trend"] == 0.0


def test_rows_without_a_source_are_one_source():
    sampler = CurriculumSampler([{"x": 1}, {"data_source": "a"}, {}])
    assert sampler.source_indices == {"default": [0, 2], "a": [1]}


def test_a_resume_in_the_middle_of_an_epoch_draws_on_alike():
    feedback = ({"kk0": [3.0, -1.0]}, {"kk0": [1.0, -1.0]})
    going = CurriculumSampler(ROWS, batch_size=8, seed=4)
    list(itertools.islice(going, 21))
    going.update_weights(*feedback)
    state = json.loads(json.dumps(going.state_dict()))
    resumed = CurriculumSampler(ROWS, batch_size=8, seed=4)
    resumed.load_state_dict(state)
    assert list(resumed) == list(going)
    assert [list(resumed) for _ in range(17)] == [list(going) for _ in range(17)]


@pytest.mark.parametrize(
    ("rewards", "advantages", "message"),
    [
        ({"kk0": [1.0], "zz": [1.0]}, {"kk0": [1.0], "zz": [1.0]}, "zz"),
        ({"kk0": [1.0], "kk1": [1.0]}, {"kk0": [1.0]}, "kk1"),
        ({"kk0": [1.0], "kk1": [math.nan]}, {"kk0": [1.0], "kk1": [1.0]}, "finite"),
    ],
)
def test_bad_feedback_changes_nothing(rewards, advantages, message):
    sampler = CurriculumSampler(ROWS)
    before = sampler.state_dict()
    with pytest.raises(ValueError, match=message):
        sampler.update_weights(rewards, advantages)
    assert sampler.state_dict() == before


def test_a_state_of_other_sources_changes_nothing():
    sampler = CurriculumSampler(ROWS)
    before = sampler.state_dict()
    for state in (
        CurriculumSampler([{"data_source": "other"}]).state_dict(),
        {},
        {**before, "controller": {}},
    ):
        with pytest.raises(ValueError):
            sampler.load_state_dict(state)
        assert sampler.state_dict() == before


def test_nothing_depends_on_the_hash_seed():
    program = (
        "from azrl.curriculum.curriculum_learning import CurriculumSampler\n"
        "rows = [{'data_source': 'kk' + str(i % 7)} for i in range(50)]\n"
        "sampler = CurriculumSampler(rows, batch_size=8, seed=1)\n"
        "print(list(sampler)); sampler.update_weights({'kk3': [1.0]}, {'kk3': [0.5]})\n"
        "print(list(sampler), sampler.state_dict())"
    )
    assert "kk3" in printed(program)


def test_torchs_loader_takes_it():
    data = pytest.importorskip("torch.utils.data", reason="the loader is torch's")
    sampler = CurriculumSampler(ROWS, batch_size=8, seed=2)
    loader = data.DataLoader(ROWS, batch_size=8, sampler=sampler)
    assert [len(batch["prompt"]) for batch in loader] == [8] * 7 + [4]
