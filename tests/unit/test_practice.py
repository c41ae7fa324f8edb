"""What of the buffer is practised: by arm and weight, or by ZRC's clusters of the buffer's own tasks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from azrl.buffer import TaskBuffer
from azrl.curriculum import CurriculumSampler, build_curriculum
from azrl.curriculum.zrc import Settings
from azrl.engine import Completion
from azrl.selfplay.clusters import TYPICAL, ByCluster, described
from azrl.selfplay.practice import ByArm
from azrl.selfplay.solver import Attempt, Group
from azrl.tasks.types import Kind, Task

ARMS = ("abduction:1", "deduction:1", "deduction:2")
TOPICS = {"sorted": 0, "sum": 1, "reversed": 2}
QUICK = Settings(min_steps=4, stabilisation_steps=3, samples=64)


def task(topic: str, i: int, kind: Kind = Kind.DEDUCTION, size: int = 1) -> Task:
    return Task(kind, f"def f(x):\n    return {topic}(x), {i}", (f"[{i}]",), ("[1]",), bin=size)


def topical(text: str) -> np.ndarray:
    """Near one of three directions, by the function that the program calls."""
    [topic] = [number for name, number in TOPICS.items() if name in text]
    jitter = np.random.default_rng(sum(text.encode())).standard_normal(3)
    return np.eye(3)[topic] + 0.05 * jitter


def store(buffer: TaskBuffer, *tasks: Task) -> None:
    for one in tasks:
        buffer.add(one, key=one.program, step=0)


@pytest.fixture
def buffer(tmp_path: Path) -> Iterator[TaskBuffer]:
    with TaskBuffer(tmp_path / "buffer.sqlite") as opened:
        yield opened


def by_arm(buffer: TaskBuffer) -> ByArm:
    return ByArm(buffer, CurriculumSampler(build_curriculum("uniform", arms=ARMS), seed=0), seed=0)


def by_cluster(buffer: TaskBuffer, seed: int = 0) -> ByCluster:
    return ByCluster(buffer, QUICK, topical, seed, by_arm(buffer))


def attempted(of: Task, verdicts: list[bool | None]) -> Group:
    said = Completion("a", (1,), (97,), (-0.1,), "stop")
    return Group(of, "p", tuple(Attempt(said, "2", verdict, "") for verdict in verdicts))


def everything() -> list[Task]:
    return [task(topic, i) for i in range(20) for topic in TOPICS]


def play(practice: ByCluster, steps: int, chances: dict[str, float], first: int = 0) -> list[list[str]]:
    """Practise 12 tasks of eight attempts a step; the ids drawn in each."""
    drawn = []
    for step in range(first, first + steps):
        rng = np.random.default_rng([9, step])
        picks = practice.draw(step, 12)
        drawn.append([pick.task.id for pick in picks])
        rates = [next(rate for name, rate in chances.items() if name in p.task.program) for p in picks]
        practice.learn(
            [attempted(p.task, (rng.random(8) < r).tolist()) for p, r in zip(picks, rates, strict=True)]
        )
    return drawn


def test_by_arm_the_propensity_is_the_arms_share_times_the_tasks_weight(buffer: TaskBuffer) -> None:
    one, two, three = task("sum", 1), task("sum", 2), task("sum", 3, Kind.ABDUCTION)
    store(buffer, one, two, three)
    buffer.record([(one.id, 8, 8)], step=0)
    weights = dict(zip((one.id, two.id), buffer.weights()[:2], strict=True))
    chosen = {pick.task.id: pick.propensity for pick in by_arm(buffer).draw(1, 300)}
    assert chosen.keys() == {one.id, two.id, three.id}
    assert chosen[three.id] == pytest.approx(1 / 3)
    for id, weight in weights.items():  # arms deduction:1 and deduction:2, which borrows from its kind
        assert chosen[id] == pytest.approx(weight / sum(weights.values()) / 3)


def test_chances_of_picks_are_how_often_they_come(buffer: TaskBuffer) -> None:
    tasks = [task("sum", i) for i in range(4)]
    store(buffer, *tasks)
    buffer.record([(tasks[0].id, 1, 2), (tasks[1].id, 0, 20)], step=0)
    rng = np.random.default_rng(0)
    drawn = [buffer.picks(Kind.DEDUCTION, 1, rng=rng)[0] for _ in range(4000)]
    assert sum(chance for _, chance in {(t.id, c) for t, c in drawn}) == pytest.approx(1.0)
    counts = Counter(t.id for t, _ in drawn)
    for id, chance in {(t.id, c) for t, c in drawn}:
        assert counts[id] / 4000 == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / 4000))
    assert buffer.picks(Kind.INDUCTION, 3, rng=rng) == []


def test_few_tasks_are_practised_by_arm_until_there_are_enough_to_cluster(buffer: TaskBuffer) -> None:
    tasks = everything()
    store(buffer, *tasks[: TYPICAL - 1])
    practice = by_cluster(buffer)
    assert practice.draw(1, 12) == by_arm(buffer).draw(1, 12)
    assert practice.learn([attempted(tasks[0], [True, False])]) == {}
    store(buffer, tasks[TYPICAL - 1])
    practice.draw(2, 12)
    assert practice._zrc.tasks == tuple(buffer.ids())


def test_topics_become_clusters_and_what_is_being_learnt_is_practised(buffer: TaskBuffer) -> None:
    store(buffer, *everything())
    practice = by_cluster(buffer)
    practice.draw(0, 1)
    made = [
        {buffer.get(id).task.program.split("(")[1] for id in ids} for ids in practice._zrc.clusters.values()
    ]
    assert len(made) == 3
    assert all(len(names) == 1 for names in made)
    for step in range(40):
        [drawn] = play(practice, 1, {"sorted": 1.0, "sum": 0.2 + step / 100, "reversed": 0.0}, step)
    programs = [buffer.get(id).task.program for id in drawn]
    assert sum("sum" in program for program in programs) > len(programs) / 2


def test_picks_are_the_curriculums_own_and_carry_its_probabilities(buffer: TaskBuffer) -> None:
    store(buffer, *everything())
    practice = by_cluster(buffer)
    play(practice, 3, {"": 0.4})
    shares = dict(zip(practice._zrc.tasks, practice._zrc.task_probabilities(), strict=True))
    counts: Counter[str] = Counter()
    for step in range(3, 203):
        picks = practice.draw(step, 1)
        counts.update(pick.task.id for pick in picks)
        assert all(pick.propensity == shares[pick.task.id] for pick in picks)
    assert sum(counts.values()) == 200
    members = [set(ids) for ids in practice._zrc.clusters.values()]
    for ids, share in zip(members, practice._zrc.cluster_probabilities().values(), strict=True):
        rate = sum(counts[id] for id in ids) / 200
        assert rate == pytest.approx(share, abs=4 * np.sqrt(0.25 / 200))


def test_clusters_with_too_few_tasks_leave_the_rest_to_others(buffer: TaskBuffer) -> None:
    store(buffer, *[task("sum", i) for i in range(2)], *[task("sorted", i) for i in range(60)])
    practice = by_cluster(buffer)
    practice.draw(0, 1)
    assert sorted(map(len, practice._zrc.clusters.values())) == [2, 60]
    for step in range(10):
        ids = [pick.task.id for pick in practice.draw(step, 24)]
        assert len(ids) == len(set(ids)) >= 20
    assert len(practice.draw(11, 500)) > 40
    assert practice.draw(12, 0) == []


def test_what_attempts_show_is_kept_for_each_task(buffer: TaskBuffer) -> None:
    tasks = everything()
    store(buffer, *tasks)
    practice = by_cluster(buffer)
    practice.draw(0, 1)
    practice.learn(
        [attempted(tasks[0], [True] * 8), attempted(tasks[1], [False] * 8), attempted(tasks[2], [None])]
    )
    counts = practice._zrc._memory.table.counts(1)
    assert counts["won"][:3].tolist() == [8.0, 0.0, 0.0]
    assert counts["tried"][:4].tolist() == [8.0, 8.0, 0.0, 0.0]


def test_an_evicted_task_is_forgotten_and_what_is_known_of_the_others_stays(buffer: TaskBuffer) -> None:
    tasks = everything()
    store(buffer, *tasks)
    practice = by_cluster(buffer)
    practice.draw(0, 1)
    practice.learn([attempted(one, [True, False]) for one in tasks])
    buffer.record([(one.id, 40, 40) for one in tasks[::2]], step=1)  # worth least, so they go
    buffer.max_size = 30
    assert buffer.evict() == 30
    left = practice.learn([attempted(tasks[0], [True]), attempted(tasks[1], [True])])
    assert practice._zrc.tasks == tuple(buffer.ids()) == tuple(one.id for one in tasks[1::2])
    assert sum(left[f"cluster_terms/{cluster}/size"] for cluster in practice._zrc.clusters) == 30
    counts = practice._zrc._memory.table.counts(practice._zrc.step)
    faded = 0.5 ** (1 / QUICK.half_life)
    assert counts["tried"].tolist() == pytest.approx([2 * faded + 1, *[2 * faded] * 29])
    assert {pick.task.id for pick in practice.draw(2, 60)} <= set(buffer.ids())


def test_a_resumed_practice_draws_the_same_for_ever_after(buffer: TaskBuffer) -> None:
    tasks = everything()
    store(buffer, *tasks[:45])
    one = by_cluster(buffer)
    play(one, 7, {"": 0.3})
    two = by_cluster(buffer)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    store(buffer, *tasks[45:])  # both meet new ones
    later = {"sorted": 0.9, "": 0.3}
    assert play(one, 15, later, 7) == play(two, 15, later, 7)
    assert json.dumps(one.state_dict()) == json.dumps(two.state_dict())


def test_draws_depend_on_the_runs_seed_also_after_loading(buffer: TaskBuffer) -> None:
    store(buffer, *everything())
    one, other = by_cluster(buffer, seed=1), by_cluster(buffer, seed=2)
    one.draw(0, 1)
    one.learn([])
    other.load_state_dict(one.state_dict())
    assert [p.task.id for p in one.draw(1, 12)] != [p.task.id for p in other.draw(1, 12)]


def test_states_of_the_other_way_are_refused(buffer: TaskBuffer) -> None:
    store(buffer, *everything())
    practice = by_cluster(buffer)
    with pytest.raises(ValueError, match=r"curriculum\.name=zrc"):
        by_arm(buffer).load_state_dict(practice.state_dict())
    with pytest.raises(ValueError, match="name None"):
        practice.load_state_dict(by_arm(buffer).state_dict())
    by_arm(buffer).load_state_dict({})


def test_without_embeddings_difficulty_alone_makes_clusters(buffer: TaskBuffer) -> None:
    store(buffer, *everything())
    practice = ByCluster(buffer, QUICK, None, 0, by_arm(buffer))
    play(practice, 12, {"sorted": 1.0, "": 0.0})
    rates = sorted(
        np.mean(["sorted" in buffer.get(id).task.program for id in ids])
        for ids in practice._zrc.clusters.values()
    )
    assert len(rates) > 1
    assert rates[-1] - rates[0] > 0.3


def test_a_task_is_described_by_its_kind_its_program_and_its_input() -> None:
    assert described(task("sum", 3, Kind.ABDUCTION)) == "abduction\ndef f(x):\n    return sum(x), 3\n[3]"
