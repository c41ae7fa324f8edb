"""The zero-resource curriculum behind the common contract, over arms."""

from __future__ import annotations

import json

import numpy as np
import pytest

from azrl.curriculum import CurriculumSampler, Outcome, build_curriculum

TOPICS = np.eye(3)


def outcomes_of(chances, step, n=6):
    rng = np.random.default_rng([3, step])
    return [
        Outcome(arm, f"{arm}{i}", tuple((rng.random(8) < chance).astype(float).tolist()))
        for arm, chance in chances.items()
        for i in range(n)
    ]


def test_as_a_curriculum_it_moves_to_the_arm_that_is_being_learnt():
    curriculum = build_curriculum("zrc", arms=("mastered", "moving", "impossible", "coin"))
    for step in range(60):
        chances = {"mastered": 1.0, "moving": 0.2 + 0.01 * step, "impossible": 0.0, "coin": 0.5}
        curriculum.update(step, outcomes_of(chances, step, n=12))
    shares = dict(zip(curriculum.arms, curriculum.probabilities(60), strict=True))
    assert shares["moving"] > 0.5
    assert shares["coin"] < 0.2
    terms = curriculum.explain()
    assert terms["moving/share"] == pytest.approx(curriculum._core.task_probabilities()[1])
    assert terms["mastered/difficulty"] < 0.1 < 0.9 < terms["impossible/difficulty"]


def test_as_a_curriculum_its_probabilities_are_a_function_of_state_and_step():
    curriculum = build_curriculum("zrc", arms=tuple("abc"), embeddings=dict(zip("abc", TOPICS, strict=True)))
    curriculum.update(0, outcomes_of({"a": 0.3}, 0))
    resumed = build_curriculum("zrc", arms=tuple("abc"), embeddings=dict(zip("abc", TOPICS, strict=True)))
    resumed.load_state_dict(json.loads(json.dumps(curriculum.state_dict())))
    assert curriculum.probabilities(9).tolist() == resumed.probabilities(9).tolist()
    assert curriculum.probabilities(9).tolist() == curriculum.probabilities(9).tolist()
    assert CurriculumSampler(curriculum, 1).draw(4, 50) == CurriculumSampler(resumed, 1).draw(4, 50)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "papr"}, "unknown preset 'papr'"),
        ({"settings": {"hazrd": 0.1}}, "unknown settings hazrd"),
        ({"embeddings": {"a": [1.0, 0.0]}}, "no embedding for the arms b"),
        ({"tau": 1.0}, "no option 'tau'"),
    ],
)
def test_wrong_options_of_the_curriculum_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build_curriculum("zrc", arms=("a", "b"), **options)


def test_a_state_with_other_tasks_is_refused_and_changes_nothing():
    curriculum = build_curriculum("zrc", arms=("a", "b"))
    other = build_curriculum("zrc", arms=("a", "c"))
    curriculum.update(0, outcomes_of({"a": 0.5}, 0))
    before = curriculum.state_dict()
    with pytest.raises(ValueError, match="not these arms"):
        curriculum.load_state_dict({**before, "state": other.state_dict()["state"]})
    assert curriculum.state_dict() == before
