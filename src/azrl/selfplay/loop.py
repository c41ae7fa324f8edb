"""The self-play loop: propose, admit, solve, reward, update. Absolute Zero, arXiv 2505.03335, Algorithm 1."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from azrl.buffer import TaskBuffer
from azrl.config.schema import Config
from azrl.curriculum import Curriculum, CurriculumSampler, Outcome
from azrl.engine.base import Engine, Request
from azrl.executor import Executor, Limits
from azrl.rl.baseline import CellBaseline
from azrl.rl.types import Learner
from azrl.seeding import derive
from azrl.selfplay.composer import Composer
from azrl.selfplay.execution import observe
from azrl.selfplay.filters import refill
from azrl.selfplay.measure import Step, measure
from azrl.selfplay.practice import Pick, Practice
from azrl.selfplay.proposer import Proposal, Proposer
from azrl.selfplay.solver import Group, Solver
from azrl.selfplay.sync import Sync
from azrl.selfplay.teacher import Clock, Lesson, Teacher, together
from azrl.tasks.gate import Candidate, Gate, Observation, Reason, Verdict
from azrl.tasks.types import Draft, Kind, Task

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
    practice: Practice
    baseline: CellBaseline
    pool: ThreadPoolExecutor
    clock: Clock


class _Trial(NamedTuple):
    """Drafts that the sandbox runs."""

    candidates: list[Candidate]
    running: Future[list[Observation]]


@dataclass
class _Drafted:
    """One step's drafts while the sandbox runs them: what the model wrote, and composites."""

    proposals: list[Proposal]
    written: _Trial
    composites: _Trial


@dataclass
class _Round:
    """What one step's drafts came to; `verdicts` by the place among `proposals`."""

    proposals: list[Proposal]
    verdicts: dict[int, Verdict]
    composites: list[Verdict]

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
            parts.config,
            parts.learner,
            parts.baseline,
            parts.buffer.sharing,
            parts.clock,
            parts.engine.sleep,
        )

    def seed(self) -> Counter[str]:
        """Fill the buffer before the first step with the model's own tasks; returns the gate's counts."""
        settings, counts = self.parts.config.selfplay, Counter[str]()
        for i in range(settings.seed_batch_factor):
            with self.parts.buffer.transaction():
                played = self._admit(self._propose(step=-i - 1))
                self._store(played, step=0)
            counts.update(v.reason for v in played.verdicts.values())
        return counts

    def step(self, step: int, progress: float = 0.0) -> Step:
        """One iteration; afterwards learner and engine hold the new weights and the buffer what was learned.
        `progress`: the share of the run that is over, for the learner's schedule."""
        p, settings = self.parts, self.parts.config.selfplay
        teach = partial(self._teacher.teach, step=step, progress=progress, novelty_weight=self.novelty_weight)
        with p.buffer.transaction():
            shares = p.sampler.shares(step)
            # The sandbox is given work as soon as there is some, and its results are asked for as late as can be:
            # it runs drafts while practice is generated, and judges each batch of answers during what follows it.
            drafted = self._propose(step)
            picks = p.practice.draw(step, settings.practise)
            practice = self._attempt([pick.task for pick in picks], step)
            played = self._admit(drafted)
            attempted = self._attempt(played.admitted[: settings.max_new_tasks], step)
            groups = self._judged(practice)
            lessons: list[Lesson] = []
            if settings.practise_first:
                groups = self._refilled(groups, step, "practice", picks)
                lessons.append(teach([], {}, groups, groups))
                new = self._refilled(self._judged(attempted), step, "new", picks, others=groups)
                lessons.append(teach(played.proposals, played.verdicts, new, new))
                groups += new
            else:
                groups = self._refilled(groups + self._judged(attempted), step, "all", picks)
                trained = groups
                if settings.solver_rollouts == "fresh":
                    trained = self._judged(
                        self._attempt([g.task for g in groups], step, purpose="fresh", n=1)
                    )
                lessons.append(teach(played.proposals, played.verdicts, groups, trained))
            learned = together(lessons)
            with p.clock.phase("sync"):
                proof = p.sync(learned)

            with p.clock.phase("record"):
                self._store(played, step)
                p.buffer.record([(g.task.id, g.solved, len(g.judged)) for g in groups if g.judged], step=step)
                p.buffer.evict()
                p.curriculum.update(step, self._outcomes(groups))
                terms = p.practice.learn(groups)
        terms |= {f"curriculum_terms/{name}": value for name, value in p.curriculum.explain().items()}
        return measure(
            p.buffer,
            played.proposals,
            played.verdicts,
            played.composites,
            groups,
            [e for lesson in lessons for e in lesson.earned],
            [e for lesson in lessons for e in lesson.trained],
            [s for lesson in lessons for s in lesson.samples],
            {**learned, **proof, **terms},
            shares=shares,
            drawn={pick.task.id: pick.propensity for pick in picks},
            target=settings.target_solve_rate,
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
            "practice": self.parts.practice.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Read `state_dict` back."""
        self.novelty_weight = state["novelty_weight"]
        self._recent = deque(state["recent"], maxlen=_RECENT)
        self.parts.baseline.load_state_dict(state["baseline"])
        self.parts.curriculum.load_state_dict(state["curriculum"])
        self.parts.practice.load_state_dict(state.get("practice", {}))

    def _propose(self, step: int) -> _Drafted:
        """Composites, which need no model, and then proposals, each given to the sandbox at once."""
        p, settings = self.parts, self.parts.config.selfplay
        quota = p.sampler.draw(step, settings.composites, purpose="composites")
        composites = self._try(p.composer.drafts(quota, step))
        requests, asked = p.proposer.requests(p.sampler.draw(step, settings.batch_size), step)
        with p.clock.phase("generate"):
            completions = p.engine.generate(requests)
        proposals = p.proposer.read(asked, requests, completions)
        return _Drafted(proposals, self._try(q.draft for q in proposals if q.draft is not None), composites)

    def _try(self, drafts: Iterable[Draft]) -> _Trial:
        p = self.parts
        candidates = p.gate.screen(list(drafts), p.buffer.known)
        executions = [execution for candidate in candidates for execution in candidate.executions]
        return _Trial(candidates, p.pool.submit(observe, p.executor, p.limits, executions))

    def _admit(self, drafted: _Drafted) -> _Round:
        """Wait for the sandbox. Proposals come first: a composite that behaves as one of them is the duplicate."""
        p, trials = self.parts, (drafted.written, drafted.composites)
        with p.clock.phase("gate"):
            observations = [found for trial in trials for found in trial.running.result()]
        candidates = [candidate for trial in trials for candidate in trial.candidates]
        verdicts = [self._askable(verdict) for verdict in p.gate.prove(candidates, observations)]
        parsed = [i for i, proposal in enumerate(drafted.proposals) if proposal.draft is not None]
        by_place = dict(zip(parsed, verdicts, strict=False))
        return _Round(drafted.proposals, by_place, verdicts[len(parsed) :])

    def _askable(self, verdict: Verdict) -> Verdict:
        """A task whose question is longer than a prompt may be could never be asked: it is too large."""
        if verdict.task is None or self.parts.fits(self.parts.solver.prompt(verdict.task)):
            return verdict
        return replace(verdict, task=None, reason=Reason.TOO_LARGE, detail="prompt")

    def _refilled(
        self, groups: list[Group], step: int, part: str, picks: list[Pick], others: Sequence[Group] = ()
    ) -> list[Group]:
        """`groups`, and as many more of the buffer's tasks as it takes to stand in for those that tell nothing;
        none of this step's `others`. What was drawn for it is put to the step's `picks`."""

        def draw(n: int, number: int) -> list[Task]:
            drawn = self.parts.practice.draw(step, n, part=f" {part} {number}")
            picks.extend(drawn)
            return [pick.task for pick in drawn]

        config = self.parts.config
        return groups + refill(
            groups,
            draw,
            lambda tasks, _: self._judged(self._attempt(tasks, step)),
            config.selfplay,
            config.model.max_response_length,
            others,
        )

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
