"""What a step is remembered by: one flat dict of numbers, and a few rollouts to read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import fmean
from typing import Any

from azrl.buffer import TaskBuffer
from azrl.rl.types import Sample
from azrl.selfplay.credit import PROPOSER, SOLVER, Earned
from azrl.selfplay.proposer import Proposal
from azrl.selfplay.solver import Group
from azrl.tasks.gate import Verdict
from azrl.tasks.types import KINDS


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step: `metrics` for every sink, `signals` for the collapse alarms, `rollouts` to read."""

    metrics: dict[str, float]
    signals: dict[str, float]
    rollouts: list[dict[str, Any]]
    sampled_tokens: int


def measure(
    buffer: TaskBuffer,
    proposals: Sequence[Proposal],
    verdicts: Mapping[int, Verdict],
    composites: Sequence[Verdict],
    groups: Sequence[Group],
    earned: Sequence[Earned],
    trained: Sequence[Earned],
    samples: Sequence[Sample],
    learned: Mapping[str, float],
    *,
    shares: Mapping[str, float],
    drawn: Mapping[str, float],
    target: float,
    unique_rate: float | None,
    rollouts: int,
) -> Step:
    """Sum up one step: `earned` by all, of which `trained` was learned from, as `samples`. Rates whose denominator
    is zero are left out rather than made up. `shares` and `drawn` are the probabilities by which each arm and each
    practised task was drawn, `target` the solve rate asked for."""
    metrics: dict[str, float] = {}
    admitted = [v for v in verdicts.values() if v.task is not None]
    attempts = [a for g in groups for a in g.attempts]
    judged = [a for g in groups for a in g.judged]

    by_cell: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for e in earned:
        by_cell[e.cell].append(e.reward)
    for (kind, role), rewards in sorted(by_cell.items()):
        metrics[f"reward/{role}/{kind}"] = fmean(rewards)
    for kind in KINDS:
        of_kind = [a for g in groups if g.task.kind is kind for a in g.judged]
        if of_kind:
            metrics[f"solve_rate/{kind}"] = fmean(a.correct is True for a in of_kind)

    refused = Counter(p.reason for i, p in enumerate(proposals) if i not in verdicts)
    metrics.update(
        {f"gate/{r}": n for r, n in sorted((refused + Counter(v.reason for v in verdicts.values())).items())}
    )
    metrics.update({f"curriculum/{arm}": n for arm, n in sorted(Counter(p.arm for p in proposals).items())})

    metrics.update({f"curriculum_share/{arm}": share for arm, share in shares.items()})

    made = [(p, v.task) for i, p in enumerate(proposals) if (v := verdicts.get(i)) and v.task]
    if made:
        metrics["spec/met"] = fmean(p.spec.bin == task.bin for p, task in made)
    rates = {g.task.id: g.solved / len(g.judged) for g in groups if g.judged}
    gaps = [abs(rates[task.id] - target) for _, task in made if task.id in rates]
    if gaps:
        metrics["spec/rate_gap"] = fmean(gaps)

    if composites:
        metrics["composites/tried"] = float(len(composites))
        metrics["composites/admitted"] = float(sum(v.task is not None for v in composites))

    signals: dict[str, float] = {"admitted": len(admitted) / len(proposals)}
    if admitted:
        kinds = Counter(v.draft.kind for v in admitted)
        asked = {p.spec.kind for p in proposals}
        signals["program_size"] = fmean(v.task.bin for v in admitted if v.task)
        signals["type_mix"] = min(kinds[k] for k in asked) / len(admitted)
    if unique_rate is not None:
        signals["unique_rate"] = metrics["unique_rate"] = unique_rate
    if judged:
        signals["format"] = fmean(a.answer is not None for a in judged)
    responses = [p.completion for p in proposals] + [a.completion for a in attempts]
    tokens = sum(len(c.token_ids) for c in responses)
    signals["entropy"] = -sum(sum(c.logprobs) for c in responses) / max(1, tokens)
    signals["length"] = fmean(len(c.token_ids) for c in responses)

    metrics |= {
        **{k: float(v) for k, v in learned.items()},  # first: the names below are the loop's
        "admitted": signals["admitted"],
        "entropy": signals["entropy"],
        "length/proposer": fmean(len(p.completion.token_ids) for p in proposals),
        "tokens": float(tokens),
        "trained/share": len([e for e in trained if e.cell[1] == SOLVER]) / max(1, len(attempts)),
        "trained/sequences": float(len(samples)),
        "trained/tokens": float(sum(len(s.token_ids) for s in samples)),
        "buffer/size": float(buffer.size()),
    }
    if "program_size" in signals:
        metrics["size/statements"] = signals["program_size"]
    if attempts:
        metrics["length/solver"] = fmean(len(a.completion.token_ids) for a in attempts)
        metrics["format/solver"] = signals.get("format", 0.0)
    for (kind, _), n in sorted(buffer.counts().items()):
        metrics[f"buffer/{kind}"] = metrics.get(f"buffer/{kind}", 0.0) + n

    if len(trained) < len(earned):
        metrics["trained/left_out"] = 1.0 - len(trained) / len(earned)
    rewards_of: dict[int, tuple[float, float | None]] = {id(e.completion): (e.reward, None) for e in earned}
    rewards_of |= {id(e.completion): (e.reward, s.advantage) for e, s in zip(trained, samples, strict=True)}
    records = _records(proposals, verdicts, groups, rewards_of, shares, drawn, rollouts)
    return Step(metrics, signals, records, tokens)


def _records(
    proposals: Sequence[Proposal],
    verdicts: Mapping[int, Verdict],
    groups: Sequence[Group],
    rewards_of: Mapping[int, tuple[float, float | None]],
    shares: Mapping[str, float],
    drawn: Mapping[str, float],
    limit: int,
) -> list[dict[str, Any]]:
    """The first `limit` / 2 proposals, and all attempts at `limit` / 6 of the groups, one of each kind at least."""
    records = []
    for i, proposal in list(enumerate(proposals))[: limit // 2]:
        verdict = verdicts.get(i)
        reward, advantage = rewards_of.get(id(proposal.completion), (None, None))
        records.append(
            {
                "role": PROPOSER,
                "kind": proposal.spec.kind.value,
                "task_id": verdict.task.id if verdict and verdict.task else None,
                "prompt": proposal.prompt,
                "response": proposal.completion.text,
                "reward": reward,
                "advantage": advantage,
                "propensity": shares[proposal.arm],
                "reason": verdict.reason if verdict else proposal.reason,
                "correct": None,
                "program": proposal.draft.program if proposal.draft else None,
                "inputs": list(proposal.draft.inputs) if proposal.draft else [],
                "outputs": list(verdict.task.outputs) if verdict and verdict.task else [],
            }
        )
    for group in _varied(groups, max(len(KINDS), limit // 6)):
        for attempt in group.attempts:
            reward, advantage = rewards_of.get(id(attempt.completion), (None, None))
            records.append(
                {
                    "role": SOLVER,
                    "kind": group.task.kind.value,
                    "task_id": group.task.id,
                    "prompt": group.prompt,
                    "response": attempt.completion.text,
                    "reward": reward,
                    "advantage": advantage,
                    "propensity": drawn.get(group.task.id),
                    "reason": attempt.reason,
                    "correct": attempt.correct,
                    "program": group.task.program,
                    "inputs": list(group.task.inputs),
                    "outputs": list(group.task.outputs),
                }
            )
    return records


def _varied(groups: Sequence[Group], n: int) -> list[Group]:
    """n groups, kinds in turn, so that every kind can be read."""
    queues = [[g for g in groups if g.task.kind is kind] for kind in KINDS]
    turns = [group for turn in zip_longest(*queues) for group in turn if group is not None]
    return turns[:n]
