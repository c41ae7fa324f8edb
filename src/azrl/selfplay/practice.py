"""Which stored tasks to practise, and with what chance each was drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from azrl.buffer import TaskBuffer
from azrl.curriculum import CurriculumSampler
from azrl.seeding import generator
from azrl.selfplay.proposer import parse_arm
from azrl.selfplay.solver import Group
from azrl.tasks.types import Task


@dataclass(frozen=True, slots=True)
class Pick:
    """A stored task to practise. `propensity` is the probability that one draw of this step gives it: what is
    measured on the picks can be weighted by its inverse back to all stored tasks."""

    task: Task
    propensity: float


class Practice(Protocol):
    """Draws stored tasks. Draws are functions of the state, the run's seed and the step."""

    def draw(self, step: int, n: int, *, part: str = "") -> list[Pick]:
        """Up to n different tasks; `part` tells several draws of one step apart."""
        ...

    def learn(self, groups: Sequence[Group]) -> dict[str, float]:
        """Learn from a step's attempts, once the buffer has recorded them; the terms behind the next draws, for the
        metrics."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to draw on alike; JSON-able."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; ValueError for anything else."""
        ...


class ByArm:
    """The curriculum draws arms (kind x bin), the buffer's weights a task in each; where no task of an arm's bin is
    stored, one of its kind. The propensity is the arm's share times the task's chance within it."""

    def __init__(self, buffer: TaskBuffer, sampler: CurriculumSampler, seed: int) -> None:
        self._buffer, self._sampler, self._seed = buffer, sampler, seed

    def draw(self, step: int, n: int, *, part: str = "") -> list[Pick]:
        rng = generator(self._seed, step, f"practice{part}")
        shares = self._sampler.shares(step)
        chosen: dict[str, Pick] = {}
        for arm, count in sorted(Counter(self._sampler.draw(step, n, purpose=f"practise{part}")).items()):
            spec = parse_arm(arm)
            found = self._buffer.picks(spec.kind, count, rng=rng, bins=(spec.bin,))
            found = found or self._buffer.picks(spec.kind, count, rng=rng)
            chosen.update((task.id, Pick(task, shares[arm] * chance)) for task, chance in found)
        return list(chosen.values())

    def learn(self, groups: Sequence[Group]) -> dict[str, float]:
        """Nothing: the curriculum learns of its arms by itself, the buffer of its tasks."""
        del groups
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:
            raise ValueError("its practice is by clusters of tasks: go on with curriculum.name=zrc")
