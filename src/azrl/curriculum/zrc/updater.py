"""The curriculum around any policy update: choose, practise, record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from azrl.curriculum.zrc.checks import Rollouts
from azrl.curriculum.zrc.zero_resource import Recorded, ZeroResourceCurriculum


class Feedback(NamedTuple):
    """What an update saw of each task it was given, in their order; see `record_outcomes`."""

    successes: Sequence[Rollouts]
    verification_failures: Sequence[Rollouts] | None = None


class RLUpdater:
    """`step()` draws `draws` times a cluster and `tasks_per_draw` of its tasks, calls
    `update_fn(task_ids, kl_penalty)`, which practises them with that KL penalty and says what came of it, and
    records the feedback. An update that raises records nothing."""

    def __init__(
        self,
        update_fn: Callable[[list[str], float], Feedback],
        curriculum: ZeroResourceCurriculum,
        *,
        draws: int = 8,
        tasks_per_draw: int = 8,
    ) -> None:
        if draws < 1 or tasks_per_draw < 1:
            raise ValueError(f"draws and tasks_per_draw must be at least 1, got {draws} and {tasks_per_draw}")
        self.update_fn, self.curriculum = update_fn, curriculum
        self.draws, self.tasks_per_draw = draws, tasks_per_draw

    def step(self) -> Recorded:
        """One round."""
        task_ids = [
            task
            for _ in range(self.draws)
            for task in self.curriculum.sample_tasks_from_cluster(
                self.curriculum.select_cluster(), self.tasks_per_draw
            )
        ]
        feedback = self.update_fn(task_ids, self.curriculum.current_kl_penalty())
        return self.curriculum.record_outcomes(task_ids, feedback.successes, feedback.verification_failures)
