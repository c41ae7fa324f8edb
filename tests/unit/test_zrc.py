"""The zero-resource curriculum as its users see it: tasks in, clusters and draws out, nothing lost on the way."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hash_seeds import printed
from hypothesis import given, settings
from hypothesis import strategies as st

from azrl.curriculum.zrc import (
    Feedback,
    RLUpdater,
    Settings,
    ZeroResourceCurriculum,
    mean_token_embedding,
)

TOPICS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
QUICK = Settings(min_steps=4, stabilisation_steps=5, samples=64)


def planted(settings=QUICK, each=10, seed=0):
    """Tasks a0.., b0.., c0.. of three topics."""
    rng = np.random.default_rng(5)
    curriculum = ZeroResourceCurriculum(settings, seed=seed)
    names = [f"{topic}{i}" for topic in "abc" for i in range(each)]
    curriculum.register_tasks(
        names, np.repeat(TOPICS, each, axis=0) + 0.05 * rng.standard_normal((len(names), 3))
    )
    return curriculum


def play(curriculum, steps, chance, seed=0, draws=3, tasks=4):
    """Practise for some steps; `chance(task, step)` is the solve rate. What was drawn and recorded."""
    drawn, records = [], []
    for _ in range(steps):
        rng = np.random.default_rng([seed, curriculum.step])
        names = [
            task
            for _ in range(draws)
            for task in curriculum.sample_tasks_from_cluster(curriculum.select_cluster(), tasks)
        ]
        solved = [(rng.random(8) < chance(name, curriculum.step)).astype(float).tolist() for name in names]
        drawn.append(names)
        records.append(curriculum.record_outcomes(names, solved))
    return drawn, records


def by_topic(task, step):
    return {"a": 0.05, "b": 0.5, "c": 0.95}[task[0]]


def test_planted_topics_become_clusters():
    assert [{task[0] for task in tasks} for tasks in planted().clusters.values()] == [{"a"}, {"b"}, {"c"}]


def test_tasks_come_from_the_cluster_asked_for_and_repeat_only_when_it_is_exhausted():
    curriculum = planted(each=5)
    for cluster, members in curriculum.clusters.items():
        drawn = curriculum.sample_tasks_from_cluster(cluster, 12)
        assert set(drawn) == set(drawn[:5]) == set(members)
        assert sorted(drawn[:5]) == sorted(drawn[5:10])
    assert curriculum.sample_tasks_from_cluster(0, 0) == []


def test_clusters_come_by_their_probabilities():
    curriculum = planted()
    play(curriculum, 10, by_topic)
    shares = curriculum.cluster_probabilities()
    drawn = np.array([curriculum.select_cluster() for _ in range(3000)])
    for cluster, share in shares.items():
        assert (drawn == cluster).mean() == pytest.approx(share, abs=4 * math.sqrt(0.25 / 3000))


@pytest.mark.parametrize("rule", ["thompson", "ucb"])
def test_the_learnable_cluster_is_preferred_to_the_easy_and_the_impossible(rule):
    curriculum = planted(Settings(rule=rule))
    # b moves slowly up; a and c stay where they are
    play(curriculum, 60, lambda task, step: {"a": 0.0, "b": 0.2 + step / 100, "c": 1.0}[task[0]])
    names = {tasks[0][0]: cluster for cluster, tasks in curriculum.clusters.items()}
    shares = curriculum.cluster_probabilities()
    assert shares[names["b"]] > 0.6
    assert min(shares.values()) > 0.01


def test_a_coin_is_worth_less_than_a_rate_that_moves():
    curriculum = planted()
    rng = np.random.default_rng(0)
    for step in range(40):
        rate = np.repeat([0.5, 0.1 + step / 100, 1.0], 10)
        curriculum.record_outcomes(
            curriculum.tasks, (rng.random((30, 8)) < rate[:, None]).astype(float).tolist()
        )
    terms = {
        tasks[0][0]: curriculum.curriculum_state()["clusters"][str(cluster)]
        for cluster, tasks in curriculum.clusters.items()
    }
    assert terms["a"]["learnability"] > terms["b"]["learnability"]
    assert terms["b"]["progress"] > 0.9 > 0.5 > terms["a"]["progress"]
    assert terms["b"]["share"] > terms["a"]["share"]


def test_a_jump_is_announced_and_clusters_are_made_anew_with_the_penalty_raised():
    curriculum = planted(Settings(min_steps=10))
    _, records = play(curriculum, 30, by_topic, draws=12)
    assert [record.reclustered for record in records if record.reclustered] == ["first"]
    assert not any(record.changes for record in records)
    assert curriculum.kl_penalty_multiplier() == 2.0 ** (1 - 20 / 20)
    while True:
        before = curriculum.task_probabilities()
        _, [record] = play(
            curriculum, 1, lambda task, step: 0.95 if task[0] == "a" else by_topic(task, step), draws=12
        )
        if record.changes:
            break
    assert record.step <= 36
    assert record.reclustered == "hard"
    assert curriculum.kl_penalty_multiplier() == 2.0
    assert curriculum.current_kl_penalty() == 0.002
    assert curriculum.task_probabilities().tolist() == pytest.approx(before.tolist())
    for _ in range(10):
        curriculum.advance_stabilization()
    assert curriculum.kl_penalty_multiplier() == pytest.approx(2**0.5)
    for _ in range(10):
        curriculum.advance_stabilization()
    assert curriculum.kl_penalty_multiplier() == 1.0


def test_a_change_seen_too_early_waits():
    curriculum = planted(Settings(min_steps=40))
    seen = []
    for step in range(90):
        rate = 1 / 8 if step < 60 else 7 / 8
        seen.append(curriculum.record_outcomes(["a0", "a1", "a2", "a3"], [[rate] * 8] * 4))
    assert [record.step for record in seen if record.reclustered] == [40, 80]
    assert [record.step for record in seen if record.changes] == [61]
    assert (seen[39].reclustered, seen[79].reclustered) == ("first", "hard")


def test_tasks_fade_from_what_they_were_drawn_by():
    """A twin that never re-clusters shows what the step was drawn from."""
    never, now = planted(Settings(min_steps=10**6)), planted(Settings(min_steps=4))
    rng = np.random.default_rng(0)
    for _ in range(4):
        before = never.task_probabilities()
        names = [f"{topic}{i}" for topic in "abc" for i in range(4)]
        solved = (rng.random((12, 8)) < 0.4).astype(float).tolist()
        kinds = [curriculum.record_outcomes(names, solved).reclustered for curriculum in (never, now)]
    assert kinds == [None, "first"]
    assert now.task_probabilities().tolist() == pytest.approx(before.tolist())


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    rule=st.sampled_from(["thompson", "ucb"]),
    floor=st.floats(0, 1),
    soft=st.sampled_from([0.0, 0.3]),
)
def test_whatever_happens_shares_sum_to_one_floors_hold_and_counts_stay(seed, rule, floor, soft):
    """Against a twin that never re-clusters and so cannot lose anything by it."""
    options = {"rule": rule, "floor": floor, "soft_threshold": soft, "samples": 16}
    curriculum = planted(Settings(min_steps=2, stabilisation_steps=3, **options), each=4)
    twin = planted(Settings(min_steps=10**6, **options), each=4)
    rng = np.random.default_rng(seed)
    kinds = set()
    for _ in range(15):
        names = rng.choice(curriculum.tasks, 6).tolist()
        solved = (rng.random((6, 4)) < rng.random()).astype(float).tolist()
        kinds.add(curriculum.record_outcomes(names, solved).reclustered)
        twin.record_outcomes(names, solved)
        p = curriculum.task_probabilities()
        assert p.sum() == pytest.approx(1.0)
        assert p.min() >= floor / len(p) - 1e-12
        assert sorted(t for tasks in curriculum.clusters.values() for t in tasks) == sorted(curriculum.tasks)
        assert all(curriculum.clusters.values())
        assert sum(curriculum.cluster_probabilities().values()) == pytest.approx(1.0)
    assert "first" in kinds
    assert curriculum.state_dict()["table"] == twin.state_dict()["table"]


def test_a_resumed_curriculum_draws_the_same_for_ever_after():
    one = planted()
    play(one, 17, by_topic)
    one.select_cluster()  # in the middle of a step
    two = ZeroResourceCurriculum(QUICK, seed=99)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert play(one, 40, lambda task, step: 0.9 if step > 30 else by_topic(task, step)) == play(
        two, 40, lambda task, step: 0.9 if step > 30 else by_topic(task, step)
    )
    assert one.state_dict() == two.state_dict()


def test_draws_depend_on_the_seed_and_not_on_the_hash_seed():
    program = (
        "import numpy as np\n"
        "from azrl.curriculum.zrc import ZeroResourceCurriculum\n"
        "def run(seed):\n"
        "    c = ZeroResourceCurriculum(seed=seed)\n"
        "    c.register_tasks([f't{i}' for i in range(30)], np.random.default_rng(0).standard_normal((30, 4)))\n"
        "    out = []\n"
        "    for step in range(25):\n"
        "        names = c.sample_tasks_from_cluster(c.select_cluster(), 5)\n"
        "        c.record_outcomes(names, [[1, 0, float(len(name) % 2)] for name in names])\n"
        "        out.append(names)\n"
        "    return out\n"
        "assert run(1) != run(2)\n"
        "print(run(1))"
    )
    assert "t1" in printed(program)


def test_tasks_come_and_go():
    curriculum = planted(each=5)
    curriculum.register_tasks(["a9", "c9"], [TOPICS[0], TOPICS[2]])
    curriculum.register_tasks(["d0", "d1"], [-TOPICS[0], -TOPICS[0]])
    assert [sorted({task[0] for task in tasks}) for tasks in curriculum.clusters.values()] == [
        ["a"],
        ["b"],
        ["c"],
        ["d"],
    ]
    curriculum.remove_tasks([task for task in curriculum.tasks if task[0] == "b"])
    assert list(curriculum.clusters) == [0, 2, 3]
    assert len(curriculum.task_probabilities()) == 14
    with pytest.raises(ValueError, match="no cluster 1 at step 0; there is 0, 2, 3"):
        curriculum.sample_tasks_from_cluster(1, 2)
    play(curriculum, 12, lambda task, step: 0.5)
    curriculum.remove_tasks(curriculum.tasks)
    with pytest.raises(ValueError, match="register_tasks first"):
        curriculum.select_cluster()


def test_initial_difficulties_are_evidence_that_fades():
    curriculum = ZeroResourceCurriculum()
    curriculum.register_tasks(["hard", "easy", "new"], initial_difficulty=[1.0, 0.0, None])
    first = dict(zip(curriculum.tasks, curriculum.difficulties(), strict=True))
    assert first["hard"] > 0.7 > first["new"] > 0.3 > first["easy"]
    for _ in range(100):
        curriculum.record_outcomes(["new"], [[1.0, 0.0]])
    later = dict(zip(curriculum.tasks, curriculum.difficulties(), strict=True))
    assert later["hard"] == pytest.approx(0.5, abs=0.05)


def test_without_a_verifier_the_majority_judges():
    with_votes, with_rewards = planted(), planted()
    with_votes.record_answers(["a0", "b0"], [["1", "1", "2"], ["x", None, "y"]], [[True, False, False]] * 2)
    with_rewards.record_outcomes(
        ["a0", "b0"], [[1, 1, 0], [1, 0, 0]], verification_failures=[[0, 1, 0], [0, 0, 0]]
    )
    assert with_votes.state_dict() == with_rewards.state_dict()


def test_texts_are_embedded_by_the_callable():
    embed = mean_token_embedding(lambda text: [ord(c) % 3 for c in text], TOPICS)
    curriculum = ZeroResourceCurriculum(embed=embed)
    texts = ["cc", "ccc", "dd", "d", "e", "ee"]
    curriculum.register_tasks(["1", "2", "3", "4", "5", "6"], texts=texts)
    assert list(curriculum.clusters.values()) == [["1", "2"], ["3", "4"], ["5", "6"]]


def damaged(field, value, *place):
    """Load the curriculum's own state with one value in it replaced: at `place` below `field`, or all of it."""

    def load(curriculum):
        state = json.loads(json.dumps(curriculum.state_dict()))
        inside, path = state, (field, *place)
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = value
        curriculum.load_state_dict(state)

    return load


BAD = {
    "unknown task": (lambda c: c.record_outcomes(["a0", "a77"], [1, 0]), "unknown task 'a77'; did you mean"),
    "success above one": (lambda c: c.record_outcomes(["a0"], [[1, 2]]), "between 0 and 1"),
    "success nan": (lambda c: c.record_outcomes(["a0", "a1"], [1, math.nan]), "successes of task 'a1'"),
    "no rollouts": (lambda c: c.record_outcomes(["a0"], [[]]), "no rollouts for a0"),
    "lengths": (lambda c: c.record_outcomes(["a0"], [1, 1]), "1 task ids were given with 2 successes"),
    "failures": (lambda c: c.record_outcomes(["a0"], [1], [-1]), "verification_failures of task 'a0'"),
    "claims": (lambda c: c.record_answers(["a0"], [["1", "2"]], [[True]]), "one verdict for each answer"),
    "registered twice": (lambda c: c.register_tasks(["z", "a0"], TOPICS[:2]), "registered twice: a0"),
    "no ids": (lambda c: c.register_tasks([]), "at least one task"),
    "nan embedding": (
        lambda c: c.register_tasks(["y", "z"], [TOPICS[0], [math.nan] * 3]),
        "'z' is not finite",
    ),
    "zero embedding": (lambda c: c.register_tasks(["z"], [[0, 0, 0]]), "all zeros"),
    "short embedding": (lambda c: c.register_tasks(["z"], [[1, 2]]), "2 numbers instead of 3"),
    "no embedding": (lambda c: c.register_tasks(["z"]), "register these likewise"),
    "difficulty": (lambda c: c.register_tasks(["z"], TOPICS[:1], [50]), "between 0 and 1, got 50"),
    "texts without embed": (lambda c: c.register_tasks(["z"], texts=["zz"]), "embed="),
    "unknown cluster": (lambda c: c.sample_tasks_from_cluster(17, 1), "no cluster 17"),
    "remove unknown": (lambda c: c.remove_tasks(["a0", "q"]), "unknown task 'q'"),
    "other version": (lambda c: c.load_state_dict({**c.state_dict(), "version": 0}), "version 0"),
    "other thing": (lambda c: c.load_state_dict({}), "name None"),
    "damaged": (lambda c: c.load_state_dict({**c.state_dict(), "old": [1.0]}), "damaged"),
    "old nan": (damaged("old", math.nan, 3), "old should hold finite numbers of at least 0"),
    "old negative": (damaged("old", -0.1, 3), "old should hold finite numbers of at least 0"),
    "old infinite": (damaged("old", math.inf, 0), "old should hold finite"),
    "pending nan": (damaged("pending", math.nan), "pending should be a number from 0 to 1, got nan"),
    "pending above one": (damaged("pending", 1.5), "pending should be a number from 0 to 1, got 1.5"),
    "pending true": (damaged("pending", True), "pending should be a number"),
    "guessed nan": (damaged("guessed", math.nan), "guessed should be true or false, got nan"),
    "guessed one": (damaged("guessed", 1), "guessed should be true or false, got 1"),
    "step nan": (damaged("step", math.nan), "step should be a whole number of at least 0, got nan"),
    "last negative": (damaged("last", -1), "last should be a whole number"),
    "since half": (damaged("since", 0.5), "since should be a whole number"),
    "meaning nan": (damaged("meaning", math.nan, 7, 0), "meaning should hold finite numbers"),
    "axes nan": (damaged("projection", math.nan, "axes", 0, 0), "axes should hold finite numbers"),
    "counts nan": (damaged("table", math.nan, "counts", 4, 1), "counts should hold finite numbers"),
    "written nan": (damaged("table", math.nan, "written", 4), "written should be a whole number"),
    "labels nan": (damaged("clusters", math.nan, "labels", 4), "labels should be a whole number"),
    "means nan": (damaged("clusters", math.nan, "means", 0, 1), "means should hold finite numbers"),
    "scale nan": (damaged("clusters", math.nan, "scale", 1), "scale should hold finite numbers"),
    "penalty nan": (damaged("clusters", math.nan, "penalty"), "penalty should be a number"),
    "next used": (damaged("clusters", 1, "next"), "next 1 unused"),
    "armed nan": (damaged("clusters", math.nan, "detectors", 0, "armed"), "armed should be true or false"),
    "mass nan": (damaged("clusters", math.nan, "detectors", 1, "log_mass", 0), "log_mass should hold finite"),
    "damaged clusters": (lambda c: c.load_state_dict({**c.state_dict(), "clusters": {}}), "damaged"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_input_is_named_and_changes_nothing(case):
    curriculum = planted()
    play(curriculum, 6, by_topic)
    before, shares = curriculum.state_dict(), curriculum.task_probabilities().tolist()
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call(curriculum)
    assert curriculum.state_dict() == before
    assert curriculum.task_probabilities().tolist() == shares


def test_first_embeddings_that_are_all_alike_are_refused():
    with pytest.raises(ValueError, match="same way"):
        ZeroResourceCurriculum().register_tasks(["a", "b"], [[1.0, 2.0], [2.0, 4.0]])


def test_the_updater_practises_with_the_penalty_and_records():
    seen = []

    def update(tasks, kl):
        seen.append((len(tasks), kl))
        if len(seen) == 3:
            raise RuntimeError("out of memory")
        return Feedback([[1.0, 0.0]] * len(tasks), [[0.0]] * len(tasks))

    curriculum = planted()
    updater = RLUpdater(update, curriculum, draws=2, tasks_per_draw=3)
    assert updater.step().step == 1
    updater.step()
    with pytest.raises(RuntimeError):
        updater.step()
    assert seen == [(6, 0.001)] * 3
    assert curriculum.step == 2
    with pytest.raises(ValueError, match="at least 1"):
        RLUpdater(update, curriculum, draws=0)
