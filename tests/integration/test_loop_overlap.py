"""What the model and the sandbox do at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Event

from loop import opened, settings

from azrl.executor import Job, Result
from azrl.executor.mock import MockExecutor
from azrl.selfplay.scripted import respond


def test_the_sandbox_works_while_the_model_does_and_nothing_waits_too_early(tmp_path: Path) -> None:
    """Each thing that the sandbox is given is held back until the model does what can be done before it is needed."""
    did = {name: Event() for name in ("propose", "practise", "try new tasks", "update")}
    stuck: list[str] = []
    old: set[str] = set()
    playing = False

    def held_until(name: str) -> None:
        if playing and not did[name].wait(20):
            stuck.append(name)

    def policy(prompt: str, u: float, k: int) -> str:
        new = "try new tasks" if did["practise"].is_set() and prompt not in old else "practise"
        did["propose" if prompt.startswith("propose") else new].set()
        try:
            return respond(prompt, u, 0.5)
        except KeyError:  # the script knows no composites
            return "1"

    class Sandbox(MockExecutor):
        """Holds the drafts: composites until proposals are written, these until the model practises."""

        trials = 0

        def run(self, jobs: Sequence[Job]) -> list[Result]:
            if playing and jobs and jobs[0].fresh:
                self.trials += 1
                held_until("propose" if self.trials == 1 else "practise")
            return super().run(jobs)

    chosen = settings(selfplay={"practise_first": True, "composites": 12})
    with opened(tmp_path, chosen, policy, sandbox := Sandbox()) as play:
        play.seed()
        ids = [row[0] for row in play.parts.buffer._query("SELECT id FROM task")]
        old |= {play.parts.solver.prompt(play.parts.buffer.get(id).task) for id in ids}
        judge, learn = play.parts.solver.judge, play.parts.learner.update

        def judged_late(answered: Sequence) -> list:
            held_until("try new tasks" if answered[0][1] in old else "update")
            return judge(answered)

        def update(samples: Sequence, *, seed: int, progress: float = 0.0) -> dict[str, float]:
            did["update"].set()
            return learn(samples, seed=seed, progress=progress)

        play.parts.solver.judge = judged_late  # type: ignore[method-assign]
        play.parts.learner.update = update  # type: ignore[method-assign]
        for event in did.values():
            event.clear()
        playing = True
        step = play.step(1)
    assert stuck == []
    assert sandbox.trials == 2
    assert step.metrics["composites/tried"] > 0 < step.metrics["composites/admitted"]
    assert [len(part) > 0 for part in play.updates] == [True, True]
