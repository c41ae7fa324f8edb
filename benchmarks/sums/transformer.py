"""A small transformer: it reads the columns of a sum once, then writes the tokens of its answers.

Columns attend to one another; a token attends to all columns and to the tokens before it. The columns' keys and values
are computed once a problem and shared by its rollouts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sums.problems import BLANK, TOKENS, WIDTH

START = TOKENS


class Memory(NamedTuple):
    """Keys and values of one layer: [n, heads, places, d] of columns, [n, rollouts, heads, places, d] of tokens."""

    key: Tensor
    value: Tensor

    def first(self, n: int) -> Memory:
        """Those of the first n problems."""
        return Memory(self.key[:n], self.value[:n])


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values with the heads before the places: [..., heads, places, d]."""
        shape = (*x.shape[:-1], 3, self.heads, -1)
        return self.qkv(self.before(x)).view(shape).transpose(-4, -2).unbind(-3)

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = x + self.out(mixed.transpose(-3, -2).flatten(-2))
        return x + self.down(F.gelu(self.up(self.after(x))))


class Transformer(nn.Module):
    """Logits of an answer's tokens. A digit's embedding is the same above and below, and a column's is the sum of
    its two and its place's; places of columns and of tokens have embeddings of their own."""

    def __init__(self, width: int, heads: int, layers: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.digit = nn.Embedding(BLANK + 1, width)
        self.column = nn.Embedding(WIDTH, width)
        self.token = nn.Embedding(START + 1, width)
        self.place = nn.Embedding(WIDTH, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, TOKENS)
        for embedding in (self.digit, self.column, self.token, self.place):
            nn.init.normal_(embedding.weight, std=0.6)

    def read(self, columns: Tensor) -> list[Memory]:
        """What answers attend to, of problems' columns [n, WIDTH, 2]."""
        x = self.digit(columns).sum(dim=-2) + self.column.weight
        memories = []
        for k, block in enumerate(self.blocks):
            query, key, value = block.split(x)
            memories.append(Memory(key, value))
            if k < len(self.blocks) - 1:
                x = block.finish(x, F.scaled_dot_product_attention(query, key, value))
        return memories

    def answer(
        self, read: list[Memory], tokens: Tensor, places: Tensor, past: list[Memory] | None = None
    ) -> tuple[Tensor, list[Memory]]:
        """Logits [n, rollouts, places, TOKENS] of what stands at `places` [n, places], where `tokens` [n, rollouts,
        places] are those before each, and the keys and values so far. With `past` one place at a time."""
        x = self.token(tokens) + self.place(places)[:, None]
        grown = []
        for k, block in enumerate(self.blocks):
            query, key, value = block.split(x)
            if past is not None:
                key, value = torch.cat([past[k].key, key], dim=-2), torch.cat([past[k].value, value], dim=-2)
            grown.append(Memory(key, value))
            x = block.finish(x, _attend(query, read[k], grown[k]))
        return self.head(self.norm(x)), grown


def _attend(query: Tensor, columns: Memory, written: Memory) -> Tensor:
    """Each query's mix of all columns and of the tokens up to its own, [n, rollouts, heads, places, d]."""
    n, rollouts, heads, places, d = query.shape
    query = query * d**-0.5
    of_columns = (_by_problem(query) @ columns.key.mT).view(n, heads, rollouts, places, -1).transpose(1, 2)
    of_written = query @ written.key.mT
    if places > 1:
        later = torch.ones(places, places, dtype=torch.bool).triu(1)
        of_written = of_written.masked_fill(later, -torch.inf)
    weights = torch.cat([of_columns, of_written], dim=-1).softmax(dim=-1)
    seen = columns.key.shape[-2]
    mixed = (
        (_by_problem(weights[..., :seen]) @ columns.value).view(n, heads, rollouts, places, d).transpose(1, 2)
    )
    return mixed + weights[..., seen:] @ written.value


def _by_problem(x: Tensor) -> Tensor:
    """[n, rollouts, heads, places, d] to [n, heads, rollouts * places, d]."""
    return x.transpose(1, 2).flatten(2, 3)
