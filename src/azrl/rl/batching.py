"""How completions become rectangles of tokens: shared prompts, rows, micro-batches, minibatches.

Completions of one prompt share a row: the prompt once, then the completions one after another, each at the
positions that follow the prompt and blind to its siblings. With eight rollouts a task that saves most of the
prompt's work and changes no number beyond rounding. Rows are sorted by length before they are cut into
micro-batches, so padding is small, and padded on the right, where a causal model never looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Pair = tuple[Sequence[int], Sequence[int]]

# A row of this many tokens spends as much on attention as on everything else (measured on the tiny model).
EVEN_TOKENS = 300
# A row shorter than this share of its micro-batch's longest starts another.
FILL = 0.7


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt and the indices of the completions that follow it; `length` in tokens."""

    members: tuple[int, ...]
    length: int


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward pass takes: B rows of T tokens with N completion tokens among them.

    ids, positions int64 [B, T]; allowed bool [B, T, T] or None for causal (no row is shared); `source` int64
    [N] is the flat position (row * T + column) whose logits predict `targets` [N]; `members` are the indices
    of the completions in the order in which their `lengths` tokens lie in N."""

    ids: Tensor
    positions: Tensor
    allowed: Tensor | None
    source: Tensor
    targets: Tensor
    members: tuple[int, ...]
    lengths: tuple[int, ...]


def cheapest_row(prompt: int) -> int:
    """The row length at which a completion token behind a prompt of `prompt` tokens costs least.

    A shared row is attended to as a whole: p + s tokens cost about (p + s) (1 + (p + s) / E) for s that are of
    use, with E = `EVEN_TOKENS`. A used token's part of that is least at s = sqrt(p (p + E))."""
    return prompt + round(math.sqrt(prompt * (prompt + EVEN_TOKENS)))


def rows_of(pairs: Sequence[Pair], row_tokens: int | None = None) -> list[Row]:
    """Rows over (prompt, completion) pairs, prompts in order of first appearance. Completions of one prompt
    are spread evenly over as few rows of about `row_tokens` (by default its `cheapest_row`) as hold them.
    Pairs without completion tokens are left out. ValueError: an empty prompt, from which nothing predicts the
    first token."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, (prompt, completion) in enumerate(pairs):
        if not prompt:
            raise ValueError(f"sequence {index} has no prompt tokens to predict its first token from")
        if completion:
            groups.setdefault(tuple(prompt), []).append(index)
    rows: list[Row] = []
    for prompt, indices in groups.items():
        total = sum(len(pairs[index][1]) for index in indices)
        room = (row_tokens or cheapest_row(len(prompt))) - len(prompt)
        share = total / math.ceil(total / max(room, 1))
        members: list[int] = []
        held = 0
        for index in indices:
            length = len(pairs[index][1])
            if members and held + length / 2 > share:
                rows.append(Row(tuple(members), len(prompt) + held))
                members, held = [], 0
            members.append(index)
            held += length
        rows.append(Row(tuple(members), len(prompt) + held))
    return rows


def minibatches_of(rows: Sequence[Row], count: int, rng: np.random.Generator) -> list[list[Row]]:
    """`rows` shuffled and cut into at most `count` parts, none empty, of about equally many completions."""
    order = [rows[i] for i in rng.permutation(len(rows))]
    sizes = np.array([len(row.members) for row in order])
    middle = np.cumsum(sizes) - sizes / 2
    part = (middle * count / sizes.sum()).astype(int)
    return [found for k in range(count) if (found := [order[i] for i in np.flatnonzero(part == k)])]


def microbatches_of(rows: Sequence[Row], tokens: int) -> list[list[Row]]:
    """`rows` by falling length, cut so that rows x longest <= `tokens` (one row alone may exceed it) and no
    row is mostly padding."""
    parts: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: -row.length):
        longest = parts[-1][0].length if parts else 0
        if parts and (len(parts[-1]) + 1) * longest <= tokens and row.length >= FILL * longest:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def assemble(rows: Sequence[Row], pairs: Sequence[Pair], pad_id: int, device: torch.device) -> MicroBatch:
    """The tensors of `rows`, whose members index `pairs`."""
    width = max(row.length for row in rows)
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    positions = np.zeros_like(ids)
    owner = np.full_like(ids, -1)  # 0 the prompt, k the k-th completion, -1 padding
    source: list[np.ndarray] = []
    targets: list[Sequence[int]] = []
    for at, row in enumerate(rows):
        prompt = pairs[row.members[0]][0]
        start, stop = len(prompt), len(prompt)
        ids[at, :start], positions[at, :start], owner[at, :start] = prompt, np.arange(start), 0
        for number, member in enumerate(row.members, 1):
            completion = pairs[member][1]
            begin, stop = stop, stop + len(completion)
            ids[at, begin:stop], owner[at, begin:stop] = completion, number
            positions[at, begin:stop] = start + np.arange(len(completion))
            before = np.arange(begin - 1, stop - 1)
            before[0] = start - 1  # the prompt's end predicts the first token of each completion
            source.append(at * width + before)
            targets.append(completion)
    members = tuple(member for row in rows for member in row.members)
    owners = torch.from_numpy(owner).to(device)
    return MicroBatch(
        ids=torch.from_numpy(ids).to(device),
        positions=torch.from_numpy(positions).to(device),
        allowed=_allowed(owners) if len(members) > len(rows) else None,
        source=torch.from_numpy(np.concatenate(source)).to(device),
        targets=torch.from_numpy(np.concatenate([np.asarray(t, dtype=np.int64) for t in targets])).to(device),
        members=members,
        lengths=tuple(len(t) for t in targets),
    )


def _allowed(owners: Tensor) -> Tensor:
    """bool [B, T, T]: backwards, to the prompt and to the position's own completion (padding: to itself)."""
    causal = torch.ones(owners.shape[1], owners.shape[1], dtype=torch.bool, device=owners.device).tril()
    return causal & ((owners[:, None, :] == 0) | (owners[:, None, :] == owners[:, :, None]))
