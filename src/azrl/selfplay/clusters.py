"""Practice by ZRC: the buffer's tasks in clusters of their own, instead of kinds and bins that people chose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azrl.buffer import TaskBuffer
from azrl.curriculum.zrc import Settings, ZeroResourceCurriculum
from azrl.selfplay.practice import Pick, Practice
from azrl.selfplay.solver import Group
from azrl.tasks.types import Task

TYPICAL = 32
"""Tasks that the first clustering needs: they set the space in which all later ones lie (docs/zrc.md)."""

_ROUNDS = 4


def described(task: Task) -> str:
    """What a task is about, for its embedding: kind, program and first input."""
    return f"{task.kind}\n{task.program}\n{task.inputs[0]}"


class ByCluster:
    """ZRC over exactly the tasks that the buffer holds: new ones are registered, evicted ones forgotten.

    A draw selects a cluster for each task wanted and takes as many of its tasks, by their own worth; where a cluster
    has too few, clusters are selected again for the rest, four times at most. What attempts show is recorded a task
    at a time. `embed` turns a task's description into a vector that must not move during a run; None clusters by
    difficulty alone. Until `TYPICAL` tasks are stored, `otherwise` draws.
    """

    def __init__(
        self,
        buffer: TaskBuffer,
        settings: Settings,
        embed: Callable[[str], NDArray[np.float64]] | None,
        seed: int,
        otherwise: Practice,
    ) -> None:
        self._buffer, self._embed, self._seed, self._otherwise = buffer, embed, seed, otherwise
        self._zrc = ZeroResourceCurriculum(settings, seed=seed, embed=embed)

    def draw(self, step: int, n: int, *, part: str = "") -> list[Pick]:
        self._follow()
        if not self._zrc.tasks:
            return self._otherwise.draw(step, n, part=part)
        chances = dict(zip(self._zrc.tasks, self._zrc.task_probabilities().tolist(), strict=True))
        sizes = {cluster: len(tasks) for cluster, tasks in self._zrc.clusters.items()}
        found: dict[str, Pick] = {}
        for _ in range(_ROUNDS):
            wanted = Counter(self._zrc.select_cluster() for _ in range(n - len(found)))
            for cluster, count in sorted(wanted.items()):
                order = self._zrc.sample_tasks_from_cluster(cluster, sizes[cluster])
                fresh = [task for task in order if task not in found][:count]
                found.update((task, Pick(self._stored(task), chances[task])) for task in fresh)
        return list(found.values())

    def learn(self, groups: Sequence[Group]) -> dict[str, float]:
        self._follow()
        known = set(self._zrc.tasks)
        if not known:
            return {}
        judged = [group for group in groups if group.judged and group.task.id in known]
        done = self._zrc.record_outcomes(
            [group.task.id for group in judged],
            [[float(attempt.correct is True) for attempt in group.judged] for group in judged],
        )
        terms = {
            f"cluster_terms/{cluster}/{term}": value
            for cluster, values in self._zrc.curriculum_state()["clusters"].items()
            for term, value in values.items()
        }
        return {
            **terms,
            "clusters": float(len(self._zrc.clusters)),
            "reclustered": float(bool(done.reclustered)),
        }

    def state_dict(self) -> dict[str, Any]:
        return self._zrc.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._zrc.load_state_dict(state)
        self._zrc.seed = self._seed  # the run's, also where it starts from another run's checkpoint

    def _follow(self) -> None:
        """Make the curriculum's tasks those of the buffer, in its order."""
        stored, known = self._buffer.ids(), set(self._zrc.tasks)
        gone = known.difference(stored)
        if gone:
            self._zrc.remove_tasks(gone)
        fresh = [task for task in stored if task not in known]
        if not fresh or (len(known) == len(gone) and len(fresh) < TYPICAL):
            return
        texts = None if self._embed is None else [described(self._stored(task)) for task in fresh]
        self._zrc.register_tasks(fresh, texts=texts)

    def _stored(self, id: str) -> Task:
        entry = self._buffer.get(id)
        if entry is None:
            raise KeyError(f"no task {id} in the buffer")
        return entry.task
