"""The self-play loop: propose, admit, solve, reward, update. Absolute Zero, arXiv 2505.03335, Algorithm 1."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from azrl.buffer import TaskBuffer
from azrl.config.schema import Config
from azrl.curriculum import Curriculum, CurriculumSampler, Outcome
from azrl.engine.base import Engine, Request
from azrl.executor import Executor, Limits
from azrl.rl.baseline import CellBaseline
from azrl.rl.types import Learner
from azrl.seeding import derive, generator
from azrl.selfplay.composer import Composer
from azrl.selfplay.execution import observe
from azrl.selfplay.measure import Step, measure
from azrl.selfplay.proposer import Proposal, Proposer, parse_arm
from azrl.selfplay.solver import Group, Solver
from azrl.selfplay.sync import Sync
from azrl.selfplay.teacher import Clock, Lesson, Teacher, together
from azrl.tasks.gate import Execution, Gate, Observation, Reason, Verdict
from azrl.tasks.types import Kind, Task

# Programs over which the unique rate is measured. Induction proposes no program of its own, so it does not count.
_RECENT = 512


@dataclass
class Parts:
    """Everything the loop is composed of."""

    config: Config
    engine: Engine
    learner: Learner
    sync: Sync
    executor: Executor
    limits: Limits
    buffer: TaskBuffer
    gate: Gate
    fits: Callable[[str], bool]
    proposer: Proposer
    composer: Composer
    solver: Solver
    curriculum: Curriculum
    sampler: CurriculumSampler
    baseline: CellBaseline
    pool: ThreadPoolExecutor
    clock: Clock


@dataclass
class _Round:
    """What one step's proposals came to."""

    proposals: list[Proposal]
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    composites: list[Verdict] = field(default_factory=list)

    @property
    def admitted(self) -> list[Task]:
        return [v.task for v in self.verdicts.values() if v.task is not None]


class SelfPlay:
    """One model in two roles. `step` does one iteration; all state is in `state_dict` and the parts' own."""

    def __init__(self, parts: Parts):
        self.parts = parts
        self.novelty_weight = parts.config.selfplay.novelty_weight
        self._recent: deque[str] = deque(maxlen=_RECENT)
        self._teacher = Teacher(
            parts.config, parts.learner, parts.baseline, parts.buffer.sharing, parts.clock
        )

    def seed(self) -> Counter[str]:
        """Fill the buffer before the first step with the model's own tasks; returns the gate's counts."""
        settings, counts = self.parts.config.selfplay, Counter[str]()
        for i in range(settings.seed_batch_factor):
            with self.parts.buffer.transaction():
                played = self._propose(step=-i - 1, meanwhile=lambda: None)
                self._store(played, step=0)
            counts.update(v.reason for v in played.verdicts.values())
        return counts

    def step(self, step: int, progress: float = 0.0) -> Step:
        """One iteration; afterwards learner and engine hold the new weights and the buffer what was learned.
        `progress`: the share of the run that is over, for the learner's schedule."""
        p, settings = self.parts, self.parts.config.selfplay
        teach = partial(self._teacher.teach, step=step, progress=progress, novelty_weight=self.novelty_weight)
        with p.buffer.transaction():
            lessons: list[Lesson] = []
            practice: list[Future[list[Group]]] = []
            groups: list[Group] = []

            def meanwhile() -> None:
                practice.extend(self._attempt(self._practice(step), step))
                if settings.practise_first:
                    groups.extend(self._judged(practice))
                    lessons.append(teach([], {}, groups, groups))

            played = self._propose(step, meanwhile)
            attempted = self._attempt(played.admitted[: settings.max_new_tasks], step)
            if settings.practise_first:
                new = self._judged(attempted)
                lessons.append(teach(played.proposals, played.verdicts, new, new))
                groups += new
            else:
                groups += self._judged([*practice, *attempted])
                trained = groups
                if settings.solver_rollouts == "fresh":
                    trained = self._judged(
                        self._attempt([g.task for g in groups], step, purpose="fresh", n=1)
                    )
                lessons.append(teach(played.proposals, played.verdicts, groups, trained))
            with p.clock.phase("sync"):
                proof = p.sync()

            with p.clock.phase("record"):
                self._store(played, step)
                p.buffer.record([(g.task.id, g.solved, len(g.judged)) for g in groups if g.judged], step=step)
                p.buffer.evict()
                p.curriculum.update(step, self._outcomes(groups))
        terms = {f"curriculum_terms/{name}": value for name, value in p.curriculum.explain().items()}
        return measure(
            p.buffer,
            played.proposals,
            played.verdicts,
            played.composites,
            groups,
            [e for lesson in lessons for e in lesson.earned],
            [s for lesson in lessons for s in lesson.samples],
            {**together(lessons), **proof, **terms},
            unique_rate=len(set(self._recent)) / len(self._recent) if self._recent else None,
            rollouts=p.config.logging.rollouts_per_step,
        )

    def state_dict(self) -> dict[str, Any]:
        """What the loop itself remembers; JSON-able."""
        return {
            "novelty_weight": self.novelty_weight,
            "recent": list(self._recent),
            "baseline": self.parts.baseline.state_dict(),
            "curriculum": self.parts.curriculum.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Read `state_dict` back."""
        self.novelty_weight = state["novelty_weight"]
        self._recent = deque(state["recent"], maxlen=_RECENT)
        self.parts.baseline.load_state_dict(state["baseline"])
        self.parts.curriculum.load_state_dict(state["curriculum"])

    def _propose(self, step: int, meanwhile: Callable[[], None]) -> _Round:
        """Draft, and admit what the sandbox proves; `meanwhile` is done on this core while it runs the drafts."""
        p, settings = self.parts, self.parts.config.selfplay
        arms = p.sampler.draw(step, settings.batch_size)
        requests, asked = p.proposer.requests(arms, step)
        with p.clock.phase("generate"):
            completions = p.engine.generate(requests)
        played = _Round(p.proposer.read(asked, requests, completions))
        parsed = [i for i, proposal in enumerate(played.proposals) if proposal.draft is not None]

        def execute(executions: Sequence[Execution]) -> list[Observation]:
            running = p.pool.submit(observe, p.executor, p.limits, executions)
            meanwhile()
            with p.clock.phase("gate"):
                return running.result()

        drafts = [d for i in parsed if (d := played.proposals[i].draft) is not None]
        drafts += p.composer.drafts(p.sampler.draw(step, settings.composites, purpose="composites"), step)
        verdicts = [self._askable(verdict) for verdict in p.gate.admit(drafts, execute, p.buffer.known)]
        played.verdicts = dict(zip(parsed, verdicts, strict=False))
        played.composites = verdicts[len(parsed) :]
        return played

    def _askable(self, verdict: Verdict) -> Verdict:
        """A task whose question is longer than a prompt may be could never be asked: it is too large."""
        if verdict.task is None or self.parts.fits(self.parts.solver.prompt(verdict.task)):
            return verdict
        return replace(verdict, task=None, reason=Reason.TOO_LARGE, detail="prompt")

    def _practice(self, step: int) -> list[Task]:
        p = self.parts
        rng = generator(p.config.run.seed, step, "practice")
        wanted = Counter(p.sampler.draw(step, p.config.selfplay.practise, purpose="practise"))
        chosen: dict[str, Task] = {}
        for arm, n in sorted(wanted.items()):
            spec = parse_arm(arm)
            found = p.buffer.sample(spec.kind, n, rng=rng, bins=(spec.bin,))
            found = found or p.buffer.sample(spec.kind, n, rng=rng)
            chosen.update((task.id, task) for task in found)
        return list(chosen.values())

    def _attempt(
        self, tasks: Sequence[Task], step: int, *, purpose: str = "solve", n: int | None = None
    ) -> list[Future[list[Group]]]:
        config = self.parts.config
        requests = [
            Request(
                self.parts.solver.prompt(task),
                max_tokens=config.model.max_response_length,
                n=n or config.selfplay.n_samples,
                temperature=config.engine.temperature,
                top_p=config.engine.top_p,
                seed=derive(config.run.seed, step, purpose, task.id),
            )
            for task in tasks
        ]
        with self.parts.clock.phase("generate"):
            return self.parts.solver.attempt(tasks, requests)

    def _judged(self, futures: Sequence[Future[list[Group]]]) -> list[Group]:
        with self.parts.clock.phase("judge"):
            return [group for future in futures for group in future.result()]

    def _store(self, played: _Round, step: int) -> None:
        for verdict in (*played.verdicts.values(), *played.composites):
            if verdict.task is not None:
                self.parts.buffer.add(
                    verdict.task,
                    key=verdict.key,
                    signature=verdict.signature,
                    step=step,
                    fingerprints=(verdict.fingerprint,),
                )

        own = [
            v for v in played.verdicts.values() if v.task is not None and v.task.kind is not Kind.INDUCTION
        ]
        self._recent.extend(verdict.key for verdict in own)

    def _outcomes(self, groups: Sequence[Group]) -> list[Outcome]:
        bins = self.parts.config.tasks.bins
        return [
            Outcome(
                arm=f"{g.task.kind.value}:{min(max(g.task.bin, 1), bins)}",
                item=g.task.id,
                rewards=tuple(float(a.correct is True) for a in g.judged),
                tokens=sum(len(a.completion.token_ids) for a in g.judged),
            )
            for g in groups
            if g.judged
        ]
