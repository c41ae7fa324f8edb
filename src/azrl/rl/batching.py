"""How completions become rectangles of tokens: shared prompts, rows, micro-batches, minibatches.

Completions of one prompt share a row: the prompt once, then the completions one after another, each at the
positions that follow the prompt and blind to its siblings. With eight rollouts a task that saves most of the
prompt's work and changes no number beyond rounding. Rows are sorted by length before they are cut into
micro-batches, so padding is small, and padded on the right, where a causal model never looks; or they are
packed, end to end in one long row, and nothing is padded at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from azrl.models.attention import Grid, Packing

Pair = tuple[Sequence[int], Sequence[int]]

# A row of this many tokens spends as much on attention as on everything else (measured on the tiny model).
EVEN_TOKENS = 300
# A row shorter than this share of its micro-batch's longest starts another.
FILL = 0.7
# Packed rows that attend together may differ less: only attention is cut there, not the matrix products.
PACKED_FILL = 0.85


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt and the indices of the completions that follow it; `length` in tokens."""

    members: tuple[int, ...]
    length: int


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward pass takes: B rows of T tokens with N completion tokens among them.

    ids int64 [B, T]; positions likewise, or None where they count from each row's start; allowed bool [B, T, T]
    or None for causal (no row is shared); with a `packing` B is 1 and `allowed` None; `source` int64 [N] is the
    flat position (row * T + column) whose logits predict `targets` [N]; `members` are the indices of the
    completions in the order in which their `lengths` tokens lie in N."""

    ids: Tensor
    positions: Tensor | None
    allowed: Tensor | None
    packing: Packing | None
    source: Tensor
    targets: Tensor
    members: tuple[int, ...]
    lengths: tuple[int, ...]


def cheapest_row(prompt: int) -> int:
    """The row length at which a completion token behind a prompt of `prompt` tokens costs least.

    A shared row is attended to as a whole: p + s tokens cost about (p + s) (1 + (p + s) / E) for s that are of
    use, with E = `EVEN_TOKENS`. A used token's part of that is least at s = sqrt(p (p + E))."""
    return prompt + round(math.sqrt(prompt * (prompt + EVEN_TOKENS)))


def rows_of(pairs: Sequence[Pair], row_tokens: int | None = None, *, shared: bool = True) -> list[Row]:
    """Rows over (prompt, completion) pairs, prompts in order of first appearance. Completions of one prompt
    are spread evenly over as few rows of about `row_tokens` (by default its `cheapest_row`) as hold them, or
    without `shared` have a row each. Pairs without completion tokens are left out. ValueError: an empty prompt,
    from which nothing predicts the first token."""
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
        share = total / math.ceil(total / max(room, 1)) if shared else 0.0
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


def microbatches_of(rows: Sequence[Row], tokens: int, *, packed: bool = False) -> list[list[Row]]:
    """`rows` by falling length, cut so that rows x longest <= `tokens` (one row alone may exceed it) and no
    row is mostly padding; `packed` rows are cut by their own tokens."""
    parts: list[list[Row]] = []
    held = 0
    for row in sorted(rows, key=lambda row: -row.length):
        longest = parts[-1][0].length if parts else 0
        if packed:
            fits = held + row.length <= tokens
        else:
            fits = (
                (len(parts[-1]) + 1) * longest <= tokens and row.length >= FILL * longest if parts else False
            )
        if parts and fits:
            parts[-1].append(row)
            held += row.length
        else:
            parts.append([row])
            held = row.length
    return parts


def assemble(
    rows: Sequence[Row],
    pairs: Sequence[Pair],
    pad_id: int,
    device: torch.device,
    *,
    packed: bool = False,
    positions: bool = True,
) -> MicroBatch:
    """The tensors of `rows`, whose members index `pairs`: padded to a rectangle, or `packed` in one row in the
    order given. Without `positions` (only where no row is shared or packed) the model counts by itself."""
    starts = np.cumsum([0, *(row.length for row in rows)])
    width = int(starts[-1]) if packed else max(row.length for row in rows)
    ids = np.full((1 if packed else len(rows), width), pad_id, dtype=np.int64)
    places = np.zeros_like(ids)
    owner = np.full_like(ids, -1)  # 0 the prompt, k the k-th completion, -1 padding
    source: list[np.ndarray] = []
    targets: list[Sequence[int]] = []
    for number, row in enumerate(rows):
        at, offset = (0, int(starts[number])) if packed else (number, 0)
        prompt = pairs[row.members[0]][0]
        start, stop = offset + len(prompt), offset + len(prompt)
        ids[at, offset:start], places[at, offset:start] = prompt, np.arange(len(prompt))
        owner[at, offset:start] = 0
        for child, member in enumerate(row.members, 1):
            completion = pairs[member][1]
            begin, stop = stop, stop + len(completion)
            ids[at, begin:stop], owner[at, begin:stop] = completion, child
            places[at, begin:stop] = len(prompt) + np.arange(len(completion))
            before = np.arange(begin - 1, stop - 1)
            before[0] = start - 1  # the prompt's end predicts the first token of each completion
            source.append(at * width + before)
            targets.append(completion)
    members = tuple(member for row in rows for member in row.members)
    shared = len(members) > len(rows)
    allowed = _allowed(torch.from_numpy(owner).to(device)) if shared and not packed else None
    return MicroBatch(
        ids=torch.from_numpy(ids).to(device),
        positions=torch.from_numpy(places).to(device) if positions else None,
        allowed=allowed,
        packing=_packing(rows, starts, owner[0], device) if packed else None,
        source=torch.from_numpy(np.concatenate(source)).to(device),
        targets=torch.from_numpy(np.concatenate([np.asarray(t, dtype=np.int64) for t in targets])).to(device),
        members=members,
        lengths=tuple(len(t) for t in targets),
    )


def _packing(rows: Sequence[Row], starts: np.ndarray, owner: np.ndarray, device: torch.device) -> Packing:
    """Grids over neighbours of like length: a row is at least `PACKED_FILL` of the first of its grid, and no longer."""
    cuts = [0]
    for number, row in enumerate(rows):
        first = rows[cuts[-1]].length
        if not PACKED_FILL * first <= row.length <= first:
            cuts.append(number)
    grids = []
    for first, last in zip(cuts, [*cuts[1:], len(rows)], strict=True):
        part, width = rows[first:last], rows[first].length
        cells = np.concatenate([k * width + np.arange(row.length) for k, row in enumerate(part)])
        start, stop = int(starts[first]), int(starts[last])
        tokens = np.full(len(part) * width, start, dtype=np.int64)
        tokens[cells] = np.arange(start, stop)
        allowed = None
        if any(len(row.members) > 1 for row in part):
            owners = np.full(len(part) * width, -1, dtype=np.int64)
            owners[cells] = owner[start:stop]
            allowed = _allowed(torch.from_numpy(owners.reshape(len(part), width)).to(device))
        held, at = (torch.from_numpy(index).to(device) for index in (tokens, cells))
        grids.append(Grid(len(part), width, held, at, allowed))
    shared = any(len(row.members) > 1 for row in rows)
    lengths = None if shared else torch.from_numpy(starts.astype(np.int32)).to(device)
    return Packing(tuple(grids), lengths, max(row.length for row in rows))


def _allowed(owners: Tensor) -> Tensor:
    """bool [B, T, T]: backwards, to the prompt and to the position's own completion (padding: to itself)."""
    causal = torch.ones(owners.shape[1], owners.shape[1], dtype=torch.bool, device=owners.device).tril()
    return causal & ((owners[:, None, :] == 0) | (owners[:, None, :] == owners[:, :, None]))
