"""The solver's side of a step: n rollouts a task, judged outside the process that ran them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from azrl.engine.base import Completion, Engine, Request
from azrl.executor import Executor, Job, Limits, Result, Status
from azrl.tasks import judge
from azrl.tasks.normalise import Unparsable, program_key
from azrl.tasks.prompts.base import Malformed, Template
from azrl.tasks.types import Kind, Task

_WAVE = 8  # groups judged in one call, so that judging overlaps with the generation of the next ones


@dataclass(frozen=True, slots=True)
class Attempt:
    """One judged answer. `correct` None is no verdict, and so no reward: the executor had trouble. A program of
    the frozen probe is judged as any other, so that the task's solve rate stays true, but is not `trainable`."""

    completion: Completion
    answer: str | None  # None: malformed
    correct: bool | None
    reason: str
    trainable: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """All attempts at one task."""

    task: Task
    prompt: str
    attempts: tuple[Attempt, ...]

    @property
    def judged(self) -> list[Attempt]:
        """The attempts that have a verdict."""
        return [a for a in self.attempts if a.correct is not None]

    @property
    def solved(self) -> int:
        """How many attempts are right."""
        return sum(a.correct is True for a in self.attempts)


# Tasks that need no execution come last, so that nothing is left to wait for when generation ends.
_ORDER = {Kind.INDUCTION: 0, Kind.ABDUCTION: 1, Kind.DEDUCTION: 2}

# An induction answer that the executor could not even call is malformed, not wrong.
_NO_PROGRAM = ("SyntaxError", "IndentationError", "TabError", "NoFunction")

# What one input does to the whole job, and so to the other inputs in it.
_ENDED = (Status.TIMEOUT, Status.MEMORY, Status.CRASH)


class Solver:
    """Attempts tasks and judges the answers while the engine goes on."""

    def __init__(
        self,
        template: Template,
        engine: Engine,
        executor: Executor,
        limits: Limits,
        pool: ThreadPoolExecutor,
        held_out: frozenset[str] = frozenset(),
    ):
        self._template, self._engine, self._executor = template, engine, executor
        self._limits, self._pool, self._held_out = limits, pool, held_out

    def prompt(self, task: Task) -> str:
        """The text that asks the model to solve `task`."""
        return self._template.solve(task)

    def attempt(self, tasks: Sequence[Task], requests: Sequence[Request]) -> list[Future[list[Group]]]:
        """Generate for all tasks; judging goes on in the pool. Ask the futures for the groups, in any order."""
        order = sorted(range(len(tasks)), key=lambda i: _ORDER[tasks[i].kind])
        waiting: list[tuple[Task, str, list[Completion]]] = []
        futures = []
        for i, completions in self._engine.stream([requests[i] for i in order]):
            waiting.append((tasks[order[i]], requests[order[i]].prompt, completions))
            if len(waiting) >= _WAVE:
                futures.append(self._pool.submit(self.judge, waiting))
                waiting = []
        if waiting:
            futures.append(self._pool.submit(self.judge, waiting))
        return futures

    def judge(self, answered: Sequence[tuple[Task, str, list[Completion]]]) -> list[Group]:
        """Judge every completion: one executor call for all that has to be run, and a second one for abduction
        answers that shared a job with one that ended it: each of them alone."""
        parsed = [[self._parse(task.kind, c) for c in completions] for task, _, completions in answered]
        jobs: list[Job] = []
        places: dict[tuple[int, str], tuple[int, int]] = {}  # (group, answer): job, position of its output
        for g, (task, _, _) in enumerate(answered):
            answers = tuple(dict.fromkeys(answer for answer, _ in parsed[g] if answer is not None))
            if task.kind is Kind.ABDUCTION and answers:
                places.update({(g, text): (len(jobs), i) for i, text in enumerate(answers)})
                jobs.append(Job(task.program, answers, self._limits))
            elif task.kind is Kind.INDUCTION:
                for text in answers:
                    places[g, text] = (len(jobs), 0)
                    jobs.append(Job(text, task.inputs[task.shown :], self._limits))
        results = self._executor.run(jobs) if jobs else []
        shared = [
            (g, text)
            for (g, text), (job, _) in places.items()
            if answered[g][0].kind is Kind.ABDUCTION
            and results[job].status in _ENDED
            and len(jobs[job].inputs) > 1
        ]
        if shared:
            places.update({place: (len(results) + i, 0) for i, place in enumerate(shared)})
            alone = [Job(answered[g][0].program, (text,), self._limits) for g, text in shared]
            results = [*results, *self._executor.run(alone)]
        groups = []
        for g, (task, prompt, completions) in enumerate(answered):
            attempts = []
            for (answer, reason), completion in zip(parsed[g], completions, strict=True):
                if answer is None:
                    attempts.append(Attempt(completion, None, False, reason))
                elif task.kind is Kind.DEDUCTION:
                    correct = judge.equal(answer, task.outputs[0])
                    attempts.append(Attempt(completion, answer, correct, "right" if correct else reason))
                else:
                    job, position = places[g, answer]
                    attempt = _verdict(task, completion, answer, results[job], position)
                    held_out = task.kind is Kind.INDUCTION and self._is_held_out(answer)
                    attempts.append(replace(attempt, trainable=False) if held_out else attempt)
            groups.append(Group(task, prompt, tuple(attempts)))
        return groups

    def _is_held_out(self, program: str) -> bool:
        try:
            return bool(self._held_out) and program_key(program) in self._held_out
        except Unparsable:
            return False

    def _parse(self, kind: Kind, completion: Completion) -> tuple[str | None, str]:
        if completion.finish != "stop":
            return None, "cut_off"
        try:
            answer = self._template.parse_answer(kind, completion.text)
            if kind is Kind.DEDUCTION:
                return judge.canonical(answer), "wrong"
            if kind is Kind.ABDUCTION:
                return judge.arguments(answer), "wrong"
            return answer, "wrong"
        except Malformed as error:
            return None, error.reason
        except judge.NotLiteral:
            return None, "not_literal"


def _verdict(task: Task, completion: Completion, answer: str, result: Result, position: int) -> Attempt:
    """Compare what the executor gave with the gold, here and not in the process that ran the answer."""
    if result.status is Status.INFRA:
        return Attempt(completion, answer, None, "infra")
    if task.kind is Kind.INDUCTION and result.error in _NO_PROGRAM:
        return Attempt(completion, None, False, result.error)
    if result.status is not Status.OK:
        return Attempt(completion, answer, False, result.error or result.status.value)
    if task.kind is Kind.ABDUCTION:
        pairs = [(result.outputs[position], task.outputs[0])]
    else:
        pairs = list(zip(result.outputs, task.outputs[task.shown :], strict=True))
    correct = all(out is not None and judge.equal(out, gold) for out, gold in pairs)
    return Attempt(completion, answer, correct, "right" if correct else "wrong")
