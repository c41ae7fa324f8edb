"""The decode loop: one batch of rows from prompt to end, without a word of Python a row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from azrl.engine.network import Cache, read
from azrl.engine.sampling import Sampler
from azrl.engine.weights import Arch, Weights

_CHECK_EVERY = 4
"""Steps between looks for finished rows: a look costs a few operations and, on a GPU, a wait."""

_SCORE_TOKENS = 4096

Row = tuple[list[int], list[float]]
"""Token ids and their log-probabilities."""


@torch.inference_mode()
def decode(
    arch: Arch,
    w: Weights,
    prompts: Sequence[Sequence[int]],
    owners: Sequence[int],
    limits: Sequence[int],
    sampler: Sampler,
    eos: int,
) -> list[Row]:
    """Complete row r from prompt `owners[r]` up to `eos` (kept) or `limits[r]` tokens (at least 1).

    Finished rows go on unseen until a look finds them; then live rows from the end of the batch take their
    places. Raises FloatingPointError when a log-probability is not finite.
    """
    device, steps = w.embed.device, max(limits)
    owner, limit = torch.tensor(owners, device=device), torch.tensor(limits, device=device)
    cache = Cache(arch, w, len(owners), max(map(len, prompts)) + steps)
    tokens = torch.full((steps, len(owners)), eos, device=device)
    logprobs = torch.zeros(steps, len(owners), device=device)
    live = torch.arange(len(owners), device=device)
    ended = torch.zeros(len(owners), dtype=torch.bool, device=device)
    logits, since = cache.fill(prompts, owner)[owner], 0
    fresh: list[tuple[torch.Tensor, torch.Tensor]] = []
    for step in range(steps):
        token, logprob = sampler.draw(logits, step)
        fresh.append((token, logprob))
        if len(fresh) == _CHECK_EVERY or step + 1 == steps:
            drawn = torch.stack([pair[0] for pair in fresh])
            tokens[since : step + 1, live] = drawn
            logprobs[since : step + 1, live] = torch.stack([pair[1] for pair in fresh])
            fresh, since = [], step + 1
            ended[live] |= (drawn == eos).any(0) | (limit[live] <= since)
            alive = ~ended[live]
            rows = int(alive.sum())
            if rows == 0:
                break
            if rows < len(live):
                order = torch.arange(rows, device=device)
                holes = (~alive[:rows]).nonzero()[:, 0]
                movers = alive[rows:].nonzero()[:, 0] + rows
                order[holes] = movers
                cache.keep(holes, movers, rows)
                sampler.keep(order)
                live, token = live[order], token[order]
        logits = cache.step(token)
    return _cut(tokens.T.cpu().numpy(), logprobs.T.cpu().numpy(), np.asarray(limits), eos)


def _cut(tokens: np.ndarray, logprobs: np.ndarray, limits: np.ndarray, eos: int) -> list[Row]:
    ends = tokens == eos
    lengths = np.minimum(np.where(ends.any(1), ends.argmax(1) + 1, tokens.shape[1]), limits).tolist()
    rows = [(t[:n], p[:n]) for t, p, n in zip(tokens.tolist(), logprobs.tolist(), lengths, strict=True)]
    if not all(np.isfinite(p).all() for _, p in rows):
        raise FloatingPointError(
            "the model gave log-probabilities that are not finite: its weights are damaged"
        )
    return rows


@torch.inference_mode()
def score(arch: Arch, w: Weights, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
    """Log-probabilities (temperature 1) of each completion's tokens after its prompt, in order.

    Pairs are read in batches of like length. An empty completion gives an empty list.
    """
    scores: list[list[float]] = [[] for _ in pairs]
    order = sorted(
        (i for i, (_, tokens) in enumerate(pairs) if tokens), key=lambda i: sum(map(len, pairs[i]))
    )
    while order:
        width = sum(map(len, pairs[order[-1]])) - 1
        count = max(1, _SCORE_TOKENS // width)
        chosen, order = order[-count:], order[:-count]
        rows = [[*pairs[i][0], *pairs[i][1]][:-1] for i in chosen]
        sizes = [len(pairs[i][1]) for i in chosen]
        ends = np.cumsum([len(row) for row in rows])
        keep = np.concatenate([np.arange(end - size, end) for end, size in zip(ends, sizes, strict=True)])
        logits = read(arch, w, rows, *arch.rotary(width), torch.from_numpy(keep).to(w.embed.device))
        targets = torch.tensor([token for i in chosen for token in pairs[i][1]], device=logits.device)
        found = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0].split(sizes)
        for i, part in zip(chosen, found, strict=True):
            scores[i] = part.tolist()
    return scores
