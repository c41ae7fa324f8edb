"""Admits proposals: a staged check in which every refusal has a reason code.

Size, syntax, policy, held-out, duplicate and leak come first and cost no execution; then each draft that is left
runs in `variants` fresh interpreters, and what they return decides the rest. A strict gate is what keeps self-play
stable ("Survive or Collapse", arXiv 2605.22217).

Nothing here runs a program: between `screen` and `prove` the caller does, and has time for other work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from azrl.tasks import judge, mutate, normalise, policy, trivial, unordered
from azrl.tasks.types import Draft, Kind, Task

EXTRA_VARIANTS = 2
"""More interpreters for a program in which sets or hashes occur."""
PAIRS_NEEDED = 3
"""Fewest valid input/output pairs of an induction task, where `pairs` asks for no fewer."""


class Reason(StrEnum):
    """Why a draft was admitted or refused; `gate/<reason>` in the metrics. In the order of the stages."""

    TOO_LARGE = "too_large"  # the program, an input or an output is over its limit
    PARSE = "parse"  # the program or its input is no Python, or not the number of inputs that the kind needs
    POLICY = "policy"  # `detail` is policy.check's code
    HELD_OUT = "held_out"  # the program is one of the frozen probe's
    DUPLICATE = "duplicate"  # same program and input as a known task, or same behaviour as one in this batch
    LEAK = "leak"  # the answer can be read in the prompt or the message
    ERROR = "error"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASH = "crash"
    OUTPUT = "output"  # the result is not a bounded literal
    REFUSED = "refused"  # the executor would not start it
    NONDETERMINISTIC = "nondeterministic"  # interpreters, or two calls in one, disagree
    TRIVIAL = "trivial"  # identity, constant, input ignored
    INFRA = "infra"  # the executor's own trouble: not the proposer's fault, so it earns no reward at all
    ADMITTED = "admitted"


@dataclass(frozen=True, slots=True)
class Execution:
    """Run `f` of `program` on each input in one fresh interpreter; `variant` picks its hash seed."""

    program: str
    inputs: tuple[str, ...]
    variant: int


@dataclass(frozen=True, slots=True)
class Observation:
    """What came of an Execution. `status` is "ok" or one of the Reason values error, timeout, memory, crash,
    output, refused, infra; `outputs[i]` is literal text, or None where input i raised."""

    status: str
    outputs: tuple[str | None, ...]
    error: str = ""


Execute = Callable[[Sequence[Execution]], Sequence[Observation]]


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Sizes in characters; `pairs` of an induction task; `variants` interpreters that must agree, and
    EXTRA_VARIANTS more where sets or hashes occur."""

    max_program_chars: int = 2000
    max_value_chars: int = 400
    variants: int = 2
    pairs: int = 6
    forbidden_modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`task` is set exactly when `reason` is ADMITTED. `key` is the normalised program's, `signature` its
    behaviour's, `fingerprint` the task's for `known`; each is "" where the draft did not get that far."""

    draft: Draft
    task: Task | None
    reason: Reason
    detail: str = ""
    key: str = ""
    signature: str = ""
    fingerprint: str = ""


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str = ""):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(slots=True)
class Candidate:
    """A draft on its way through the stages. `executions` is what has to be run before it can be proved; a draft
    that is refused already has none."""

    draft: Draft
    executions: tuple[Execution, ...] = ()
    inputs: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    variants: int = 0
    key: str = ""
    fingerprint: str = ""
    signature: str = ""
    refused: _Refused | None = None
    task: Task | None = None


class Gate:
    """`held_out` holds the program keys of the frozen probe."""

    def __init__(self, limits: GateLimits, held_out: frozenset[str] = frozenset()):
        if limits.variants < 2 or limits.pairs < 2:
            raise ValueError("a gate needs at least 2 variants and 2 pairs")
        self.limits, self.held_out = limits, held_out

    def admit(
        self,
        drafts: Sequence[Draft],
        execute: Execute,
        known: Callable[[str], bool] = lambda fingerprint: False,
    ) -> list[Verdict]:
        """`screen`, one call of `execute`, if need be with nothing to run, and `prove`."""
        candidates = self.screen(drafts, known)
        asked = [execution for candidate in candidates for execution in candidate.executions]
        return self.prove(candidates, execute(asked))

    def screen(
        self, drafts: Sequence[Draft], known: Callable[[str], bool] = lambda fingerprint: False
    ) -> list[Candidate]:
        """One Candidate a draft, in order, after the stages that cost no execution.

        The same program with a new input is a new task; with the same input and kind it is a duplicate,
        whatever its names and layout.
        """
        candidates = [Candidate(draft) for draft in drafts]
        fingerprints: set[str] = set()
        for candidate in candidates:
            try:
                self._screen(candidate, known, fingerprints)
                candidate.executions = self._executions(candidate)
            except _Refused as refused:
                candidate.refused = refused
        return candidates

    def prove(self, candidates: Sequence[Candidate], observations: Sequence[Observation]) -> list[Verdict]:
        """One Verdict a candidate, in order, from what came of all their executions, in order.

        Candidates of several screenings may be proved together: of two that behave alike the first stays. Raises
        ValueError if there are more or fewer observations than executions.
        """
        asked = sum(len(candidate.executions) for candidate in candidates)
        if len(observations) != asked:
            raise ValueError(f"{asked} executions gave {len(observations)} observations")
        left = iter(observations)
        signatures: set[str] = set()
        for candidate in candidates:
            seen = [(execution, next(left)) for execution in candidate.executions]
            if candidate.refused is None:
                try:
                    self._prove(candidate, seen, signatures)
                except _Refused as refused:
                    candidate.refused = refused
        return [_verdict(candidate) for candidate in candidates]

    # Before execution

    def _screen(self, candidate: Candidate, known: Callable[[str], bool], batch: set[str]) -> None:
        draft = candidate.draft
        for what in ("program", "message"):
            if len(getattr(draft, what)) > self.limits.max_program_chars:
                raise _Refused(Reason.TOO_LARGE, what)
        candidate.inputs = self._inputs(draft)
        try:
            broken = policy.check(draft.program, self.limits.forbidden_modules)
            if broken:
                raise _Refused(Reason.POLICY, broken)
            candidate.key = normalise.program_key(draft.program)
            extra = EXTRA_VARIANTS if unordered.suspected(draft.program) else 0
            candidate.variants = self.limits.variants + extra
        except normalise.Unparsable as error:
            raise _Refused(Reason.PARSE, f"program:{error.reason}") from None
        if candidate.key in self.held_out:
            raise _Refused(Reason.HELD_OUT)
        candidate.fingerprint = fingerprint(draft.kind, candidate.key, candidate.inputs)
        if candidate.fingerprint in batch or known(candidate.fingerprint):
            raise _Refused(Reason.DUPLICATE, "task")
        batch.add(candidate.fingerprint)
        if draft.kind is Kind.INDUCTION:
            leak = trivial.message_leak(draft.message, draft.program)
        else:
            readable = draft.kind is Kind.ABDUCTION and trivial.input_leak(candidate.inputs[0], draft.program)
            leak = "input in program" if readable else None
            candidate.probes = mutate.mutations(candidate.inputs[0])
        if leak:
            raise _Refused(Reason.LEAK, leak)

    def _inputs(self, draft: Draft) -> tuple[str, ...]:
        """Canonical distinct inputs; of an induction draft, those that are literals."""
        induction = draft.kind is Kind.INDUCTION
        if not induction and len(draft.inputs) != 1:
            raise _Refused(Reason.PARSE, "inputs")
        found: dict[str, None] = {}
        for text in draft.inputs:
            try:
                found[judge.arguments(text, max_chars=self.limits.max_value_chars)] = None
            except judge.NotLiteral as error:
                if not induction:
                    large = error.reason == "too_long"
                    raise _Refused(
                        Reason.TOO_LARGE if large else Reason.PARSE, f"input:{error.reason}"
                    ) from None
        if induction and len(found) < self._needed:
            raise _Refused(Reason.PARSE, "inputs")
        return tuple(found)[: self.limits.pairs]

    @property
    def _needed(self) -> int:
        return min(PAIRS_NEEDED, self.limits.pairs)

    def _executions(self, candidate: Candidate) -> tuple[Execution, ...]:
        """The inputs and the first one again in every variant; the probes apart, so that one which does not
        end harms nothing but itself, and behind the run whose interpreter they ask for."""
        program, inputs = candidate.draft.program, candidate.inputs
        variants = reversed(range(candidate.variants))
        runs = (Execution(program, (*inputs, inputs[0]), variant) for variant in variants)
        probes = (Execution(program, candidate.probes, 0),) if candidate.probes else ()
        return (*runs, *probes)

    # After execution

    def _prove(
        self, candidate: Candidate, seen: Sequence[tuple[Execution, Observation]], batch: set[str]
    ) -> None:
        for execution, observation in seen:
            if observation.status == Reason.INFRA:
                raise _Refused(Reason.INFRA, observation.error)
            if observation.status == "ok" and len(observation.outputs) != len(execution.inputs):
                raise _Refused(Reason.INFRA, "outputs missing")
        runs = [observation for _, observation in seen[: candidate.variants]]
        draft, induction = candidate.draft, candidate.draft.kind is Kind.INDUCTION
        outputs = self._outputs(runs)
        pairs = [(i, o) for i, o in zip(candidate.inputs, outputs, strict=True) if o is not None]
        if len(pairs) < (self._needed if induction else 1):
            raise _Refused(Reason.ERROR, runs[0].error)
        inputs, answers = tuple(i for i, _ in pairs), tuple(o for _, o in pairs)
        probed = _succeeded(seen[candidate.variants :])
        if trivial.identity(inputs, answers):
            raise _Refused(Reason.TRIVIAL, "identity")
        if trivial.constant([*answers, *(output for _, output in probed)]):
            raise _Refused(Reason.TRIVIAL, "constant")
        if trivial.ignores_input(draft.program):
            raise _Refused(Reason.TRIVIAL, "input ignored")
        if draft.kind is Kind.DEDUCTION and trivial.comment_leak(answers[0], draft.program):
            raise _Refused(Reason.LEAK, "output in comment")
        shown = len(pairs) // 2 if induction else 0
        leak = trivial.message_leak(draft.message, draft.program, answers[shown:]) if induction else None
        if leak:
            raise _Refused(Reason.LEAK, leak)
        evidence = [text for pair in (*pairs, *probed) for text in pair]
        # With fewer than three pairs, behaviour says too little to be a program's name.
        candidate.signature = _digest(draft.kind, *evidence, *([] if len(evidence) >= 6 else [candidate.key]))
        if candidate.signature in batch:
            raise _Refused(Reason.DUPLICATE, "behaviour")
        batch.add(candidate.signature)
        candidate.task = Task(
            kind=draft.kind,
            program=draft.program,
            inputs=inputs,
            outputs=answers,
            message=draft.message,
            shown=shown,
            bin=normalise.statements(draft.program),
            parents=draft.parents,
        )

    def _outputs(self, runs: Sequence[Observation]) -> list[str | None]:
        """Canonical outputs on which all interpreters, and both calls on the first input, agree."""
        for run in runs:
            if run.status != "ok":
                raise _Refused(Reason(run.status), run.error)
        first, *others = ([self._canonical(output) for output in run.outputs] for run in runs)
        if any(other != first for other in others) or first[-1] != first[0]:
            raise _Refused(Reason.NONDETERMINISTIC)
        return first[:-1]

    def _canonical(self, output: str | None) -> str | None:
        try:
            return None if output is None else judge.canonical(output, max_chars=self.limits.max_value_chars)
        except judge.NotLiteral as error:
            large = error.reason == "too_long"
            raise _Refused(Reason.TOO_LARGE if large else Reason.OUTPUT, f"output:{error.reason}") from None


def _succeeded(probes: Sequence[tuple[Execution, Observation]]) -> list[tuple[str, str]]:
    """Probe inputs with their outputs, where they ran."""
    return [
        (probe, output)
        for execution, observation in probes
        if observation.status == "ok"
        for probe, output in zip(execution.inputs, observation.outputs, strict=True)
        if output is not None
    ]


def fingerprint(kind: Kind, key: str, inputs: Sequence[str]) -> str:
    """16 hex digits that two tasks share when kind, normalised program and canonical inputs are the same."""
    return _digest(kind, key, *inputs)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _verdict(candidate: Candidate) -> Verdict:
    refused = candidate.refused
    return Verdict(
        draft=candidate.draft,
        task=candidate.task,
        reason=refused.reason if refused else Reason.ADMITTED,
        detail=refused.detail if refused else "",
        key=candidate.key,
        fingerprint=candidate.fingerprint,
        signature=candidate.signature,
    )
