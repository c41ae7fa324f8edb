"""Does the zero-resource curriculum see changes, find clusters, and help where order matters?

    python benchmarks/zrc.py [--out benchmarks/results/zrc.json] [--streams 60] [--seeds 10]

Changes: a cluster of 200 tasks whose logits spread by a given standard deviation; 8 of them a step, 8 rollouts
each, 300 steps at a mean rate of .27, or a jump to .62 after 100. Clusters: planted topics in 64 dimensions,
before outcomes and after 25 steps of them. Chain: twelve topics from easy to impossible, where practising one
topic teaches its neighbours; a group of rollouts teaches sqrt(c (1 - c)), with c the share solved. There the
curriculum is used in both ways, over arms and over 480 tasks with embeddings; the published one is a Thompson
bandit over the true topics that is paid by success, and never re-clusters.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum import CurriculumSampler, Outcome, build_curriculum
from azrl.curriculum.zrc import Feedback, RLUpdater, Settings, ZeroResourceCurriculum
from azrl.curriculum.zrc.changepoint import ChangePoint

Floats = NDArray[np.float64]
ROLLOUTS = 8
LOW, HIGH, JUMP = -0.99, 0.49, 100  # logits of .27 and .62, and the step of the jump


def sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


# -- change points


def stream(seed: int, spread: float, steps: int, jump: int) -> list[Floats]:
    """Successes [8 tasks, 8 rollouts] and the tasks' numbers, a step each."""
    rng = np.random.default_rng([11, seed, int(10 * spread)])
    offsets = spread * rng.standard_normal(200)
    found = []
    for step in range(steps):
        rows = rng.choice(200, 8, replace=False)
        chance = sigmoid((HIGH if step >= jump else LOW) + offsets[rows])
        solved = rng.random((8, ROLLOUTS)) < chance[:, None]
        found.append(np.concatenate([rows[:, None], solved], axis=1).astype(float))
    return found


def alarms_of_curriculum(data: list[Floats]) -> list[int]:
    """Steps of announced changes, with all tasks in one cluster for ever."""
    curriculum = ZeroResourceCurriculum(Settings(penalty=1e9, min_steps=10**6))
    names = [f"task{number}" for number in range(200)]
    curriculum.register_tasks(names)
    return [
        step
        for step, rows in enumerate(data)
        if curriculum.record_outcomes([names[int(row[0])] for row in rows], rows[:, 1:].tolist()).changes
    ]


def alarms_if_independent(data: list[Floats]) -> list[int]:
    """The same detector told that all 64 rollouts are independent."""
    settings = Settings()
    detector = ChangePoint(settings.hazard, settings.window, settings.soft_threshold)
    return [t for t, rows in enumerate(data) if detector.observe(rows[:, 1:].sum(), rows[:, 1:].size)]


def alarms_as_published(data: list[Floats]) -> list[int]:
    """P(run length = 0) > .6, with hazard .01."""
    detector = ChangePoint(0.01, 0, 0.6)
    found = []
    for step, rows in enumerate(data):
        detector.observe(rows[:, 1:].sum(), rows[:, 1:].size)
        if detector.recent() > 0.6:
            found.append(step)
    return found


def measure_changes(streams: int) -> list[dict[str, Any]]:
    cases: list[tuple[str, float, Callable[[list[Floats]], list[int]]]] = [
        *(("zrc", spread, alarms_of_curriculum) for spread in (0.0, 0.7, 1.0, 1.5)),
        ("rollouts taken as independent", 1.0, alarms_if_independent),
        ("as published", 1.0, alarms_as_published),
    ]
    results = []
    for name, spread, alarms in cases:
        false = [len(alarms(stream(seed, spread, 300, 10**9))) for seed in range(streams)]
        delays = []
        for seed in range(streams):
            after = [t - JUMP for t in alarms(stream(10_000 + seed, spread, JUMP + 50, JUMP)) if t >= JUMP]
            delays.append(after[0] if after else None)
        seen = sorted(50 if delay is None else delay for delay in delays)
        results.append(
            {
                "detector": name,
                "item_spread": spread,
                "streams": streams,
                "false_alarms_per_300": statistics.mean(false),
                "median_delay": statistics.median(seen) if statistics.median(seen) < 50 else None,
                "missed_within_50": delays.count(None) / streams,
            }
        )
        print(results[-1], flush=True)
    return results


# -- clusters


def adjusted_rand(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Agreement of two partitions, 1 for the same, 0 by chance (Hubert & Arabie 1985)."""
    a, b = (np.unique(labels, return_inverse=True)[1] for labels in (one, other))
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)

    def pairs(counts: Floats) -> float:
        return float((counts * (counts - 1) / 2).sum())

    both, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    expected = rows * columns / pairs(np.array([float(len(a))]))
    return (both - expected) / ((rows + columns) / 2 - expected)


def labels_of(curriculum: ZeroResourceCurriculum) -> NDArray[Any]:
    place = {task: cluster for cluster, tasks in curriculum.clusters.items() for task in tasks}
    return np.array([place[task] for task in curriculum.tasks])


def measure_clusters(seeds: int) -> list[dict[str, Any]]:
    results = []
    for noise in (0.3, 0.6, 1.0, 1.5):
        for topics in (2, 3, 6, 10, 15):
            first, later, found = [], [], []
            for seed in range(seeds):
                rng = np.random.default_rng([seed, topics])
                centres, topic = rng.standard_normal((topics, 64)), rng.integers(topics, size=400)
                curriculum = ZeroResourceCurriculum(seed=seed)
                names = [f"task{number}" for number in range(400)]
                curriculum.register_tasks(names, centres[topic] + noise * rng.standard_normal((400, 64)))
                first.append(adjusted_rand(labels_of(curriculum), topic))
                logits = rng.uniform(-2, 2, topics)[topic] + 0.7 * rng.standard_normal(400)
                for _ in range(25):
                    rows = rng.choice(400, 32, replace=False)
                    solved = rng.random((32, ROLLOUTS)) < sigmoid(logits[rows])[:, None]
                    curriculum.record_outcomes([names[r] for r in rows], solved.astype(float).tolist())
                later.append(adjusted_rand(labels_of(curriculum), topic))
                found.append(len(curriculum.clusters))
            results.append(
                {
                    "topics": topics,
                    "noise": noise,
                    "seeds": seeds,
                    "ari_before_outcomes": {"mean": float(np.mean(first)), "least": min(first)},
                    "ari_after_outcomes": {"mean": float(np.mean(later)), "least": min(later)},
                    "clusters_found": found,
                }
            )
            print(results[-1], flush=True)
    return results


# -- the chain


class Chain:
    """Twelve topics with 40 tasks each; `skill` is a logit for each topic."""

    topics, each, steps, batch, rate = 12, 40, 300, 64, 0.35

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([7, seed])
        self.skill = np.linspace(0.0, -9.0, self.topics)
        place = np.arange(self.topics)
        self.reach = np.exp(-np.abs(place[:, None] - place) / 1.5)
        self.topic = np.repeat(place, self.each)
        self.offset = 0.7 * self.rng.standard_normal(len(self.topic))
        centres = self.rng.standard_normal((self.topics, 64))
        self.embeddings = centres[self.topic] + 0.6 * self.rng.standard_normal((len(self.topic), 64))

    def practise(self, tasks: NDArray[np.int64]) -> Floats:
        """Successes [tasks, rollouts]; the skills move."""
        chance = sigmoid(self.skill[self.topic[tasks]] + self.offset[tasks])
        solved = (self.rng.random((len(tasks), ROLLOUTS)) < chance[:, None]).astype(float)
        share = solved.mean(axis=1)
        taught = np.bincount(self.topic[tasks], weights=np.sqrt(share * (1 - share)), minlength=self.topics)
        self.skill = self.skill + self.rate * self.reach @ taught / self.batch
        return solved

    def success(self) -> float:
        """Mean solve rate over all tasks."""
        return float(sigmoid(self.skill[self.topic] + self.offset).mean())

    def any_task(self, topics: NDArray[np.int64]) -> NDArray[np.int64]:
        return topics * self.each + self.rng.integers(self.each, size=len(topics))


def chain_by_arms(world: Chain, name: str, seed: int) -> list[float]:
    curriculum = build_curriculum(name, arms=[str(topic) for topic in range(world.topics)])
    sampler, curve = CurriculumSampler(curriculum, seed), []
    for step in range(world.steps):
        drawn = sampler.draw(step, world.batch)
        solved = world.practise(world.any_task(np.array([int(arm) for arm in drawn])))
        outcomes = [Outcome(arm, "", tuple(row)) for arm, row in zip(drawn, solved.tolist(), strict=True)]
        curriculum.update(step, outcomes)
        curve.append(world.success())
    return curve


def chain_by_tasks(world: Chain, seed: int) -> list[float]:
    curriculum = ZeroResourceCurriculum(seed=seed)
    names = [str(number) for number in range(len(world.topic))]
    curriculum.register_tasks(names, world.embeddings)
    updater = RLUpdater(
        lambda tasks, kl: Feedback(world.practise(np.array([int(task) for task in tasks])).tolist()),
        curriculum,
        draws=8,
        tasks_per_draw=world.batch // 8,
    )
    curve = []
    for _ in range(world.steps):
        updater.step()
        curve.append(world.success())
    return curve


def chain_as_published(world: Chain, seed: int) -> list[float]:
    rng = np.random.default_rng([9, seed])
    won, lost = np.ones(world.topics), np.ones(world.topics)
    curve = []
    for _ in range(world.steps):
        drawn = rng.beta(won, lost, size=(world.batch, world.topics)).argmax(axis=1)
        solved = world.practise(world.any_task(drawn))
        np.add.at(won, drawn, solved.sum(axis=1))
        np.add.at(lost, drawn, ROLLOUTS - solved.sum(axis=1))
        curve.append(world.success())
    return curve


def measure_chain(seeds: int) -> list[dict[str, Any]]:
    ways: dict[str, Callable[[Chain, int], list[float]]] = {
        "uniform": lambda world, seed: chain_by_arms(world, "uniform", seed),
        "published": chain_as_published,
        "zrc over arms": lambda world, seed: chain_by_arms(world, "zrc", seed),
        "zrc over tasks": chain_by_tasks,
    }
    results, base = [], np.zeros(seeds)
    for name, way in ways.items():
        curves = np.array([way(Chain(seed), seed) for seed in range(seeds)])
        ends = curves[:, -1]
        base = ends if name == "uniform" else base
        results.append(
            {
                "curriculum": name,
                "seeds": seeds,
                "end_mean": float(ends.mean()),
                "end_standard_error": float(ends.std(ddof=1) / np.sqrt(seeds)),
                "mean_over_steps": float(curves.mean()),
                "seeds_above_uniform": int((ends > base).sum()),
            }
        )
        print(results[-1], flush=True)
    return results


# -- speed


def measure_speed() -> dict[str, float]:
    """CPU milliseconds with 40,000 tasks, a step of 16 clusters with 8 tasks each."""
    rng = np.random.default_rng(0)
    curriculum = ZeroResourceCurriculum()
    names = [f"task{number}" for number in range(40_000)]
    centres = rng.standard_normal((16, 64))
    vectors = centres[rng.integers(16, size=40_000)] + 0.6 * rng.standard_normal((40_000, 64))
    start = time.process_time()
    curriculum.register_tasks(names, vectors)
    times: dict[str, list[float]] = {"register": [time.process_time() - start], "draw": [], "record": []}
    for _ in range(30):
        start = time.process_time()
        tasks = [
            task
            for _ in range(16)
            for task in curriculum.sample_tasks_from_cluster(curriculum.select_cluster(), 8)
        ]
        times["draw"].append(time.process_time() - start)
        solved = (rng.random((len(tasks), ROLLOUTS)) < 0.4).astype(float).tolist()
        start = time.process_time()
        curriculum.record_outcomes(tasks, solved)
        times["record"].append(time.process_time() - start)
    medians = {name: 1000 * statistics.median(spent) for name, spent in times.items()}
    result = {
        "register_40000_ms": medians["register"],
        "draw_128_tasks_ms": medians["draw"],
        "record_128_tasks_ms": medians["record"],
        "hard_reclustering_ms": 1000 * max(times["record"]),
    }
    print(result, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "zrc.json")
    parser.add_argument("--streams", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    results = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "settings": Settings().to_dict(),
        "chain": measure_chain(arguments.seeds),
        "clusters": measure_clusters(5),
        "changes": measure_changes(arguments.streams),
        "speed": measure_speed(),
    }
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
