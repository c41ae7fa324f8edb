"""Attention over rows that may be padded or packed: nobody looks at another sequence, and padding costs nothing.

A packed row is many sequences laid end to end, [1, N] tokens without padding. Matrices multiply it as it is;
attention alone needs to know where sequences begin. On a GPU in bfloat16 a flash kernel takes their lengths
(`varlen_attn`, head dimension at most 256). Everywhere else tokens are spread for a moment onto `Grid`s,
rectangles of sequences of like length, so that a score matrix is as large as a sequence and not as the row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

PACKED = "azrl_packed"
"""The attention implementation that `take_packed` gives a transformers model."""

# Beyond this many positions the score matrix no longer pays for itself against a flash kernel.
_EXPLICIT_POSITIONS = 1024


@dataclass(frozen=True, slots=True)
class Grid:
    """Some tokens of a packed row, spread over `rows` x `width` cells. `tokens` int64 [rows * width] says which token
    a cell holds (a padded one any: no real cell looks there), `cells` int64 in which cell each token lies.
    `allowed` is bool [rows, width, width] or None for causal."""

    rows: int
    width: int
    tokens: Tensor
    cells: Tensor
    allowed: Tensor | None


@dataclass(frozen=True, slots=True)
class Packing:
    """Where the sequences of a packed row lie. `grids` cover it in order; `starts` int32 [sequences + 1] are the
    flash kernel's form of the same, None where sequences share a prompt, which that kernel cannot express."""

    grids: tuple[Grid, ...]
    starts: Tensor | None
    longest: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How the tokens of one forward pass may look at one another: `allowed` (bool [B, T, T], None for causal) of
    padded rows, or a `packing`; `biases` where scores are computed explicitly, one for each rectangle."""

    allowed: Tensor | None
    packing: Packing | None
    biases: tuple[Tensor | None, ...]

    @classmethod
    def of(cls, ids: Tensor, allowed: Tensor | None, packing: Packing | None, dtype: torch.dtype) -> Layout:
        """The layout of token `ids` [B, T] in a network that multiplies in `dtype`."""
        if packing is None:
            shapes = [(ids.shape[1], allowed)]
        else:
            shapes = [(grid.width, grid.allowed) for grid in packing.grids]
        return cls(allowed, packing, tuple(_bias(*shape, ids.device, dtype) for shape in shapes))

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Softmax attention [B, T, heads * size] of q [B, T, heads, size] over k and v [B, T, kv heads, size]."""
        if self.packing is None:
            return _mix(q, k, v, self.allowed, self.biases[0], q.shape[-1] ** -0.5)
        return _mix_packed(q, k, v, self.packing, self.biases, q.shape[-1] ** -0.5)


def take_packed(model: PreTrainedModel) -> None:
    """Let a transformers model attend by `Packing` (given to its forward as `packing`). ValueError when the
    architecture has attention of its own."""
    if not model._supports_attention_backend:
        raise ValueError(f"{type(model).__name__} has an attention of its own, which knows no packed rows")
    AttentionInterface.register(PACKED, _of_module)
    model.set_attn_implementation(PACKED)


def _of_module(
    module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, scaling: float, **extra: Any
) -> tuple[Tensor, None]:
    """The interface of transformers: q [1, heads, N, size] in, [1, N, heads, size] out."""
    packing = extra.get("packing")
    if packing is None:
        raise ValueError(f"{type(module).__name__} does not hand packed rows on to its attention")
    for name in ("softcap", "s_aux", "position_bias"):
        if extra.get(name) is not None:
            raise ValueError(f"{type(module).__name__} uses {name}, which packed attention does not know")
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    mixed = _mix_packed(q, k, v, packing, (None,) * len(packing.grids), scaling)
    return mixed.view(1, mixed.shape[1], q.shape[2], -1), None


def _bias(width: int, allowed: Tensor | None, device: torch.device, dtype: torch.dtype) -> Tensor | None:
    """What is added to attention scores, [T, T] or [B, 1, 1, T, T], where scores are computed explicitly;
    None where a fused kernel takes over. The CPU's fused kernel runs bfloat16 attention at a third of the
    speed of two matrix products (measured at 96 to 512 positions), and float32 attention faster."""
    if device.type != "cpu" or dtype == torch.float32 or width > _EXPLICIT_POSITIONS:
        return None
    open_ = torch.ones(width, width, dtype=torch.bool).tril() if allowed is None else allowed[:, None, None]
    return torch.zeros(open_.shape, dtype=dtype).masked_fill_(~open_, float("-inf"))


def _mix_packed(
    q: Tensor, k: Tensor, v: Tensor, packing: Packing, biases: tuple[Tensor | None, ...], scale: float
) -> Tensor:
    if q.is_cuda and q.dtype != torch.float32 and packing.starts is not None:
        return _flash(q[0], k[0], v[0], packing.starts, packing.longest, scale)[None]
    parts = []
    for grid, bias in zip(packing.grids, biases, strict=True):

        def spread(packed: Tensor, grid: Grid = grid) -> Tensor:
            cells = packed[0].index_select(0, grid.tokens)
            return cells.view(grid.rows, grid.width, *packed.shape[2:])

        mixed = _mix(spread(q), spread(k), spread(v), grid.allowed, bias, scale)
        parts.append(mixed.flatten(0, 1).index_select(0, grid.cells))
    return torch.cat(parts)[None]


def _flash(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, longest: int, scale: float) -> Tensor:
    """[N, heads * size]; heads are repeated because not every supported torch lets the kernel share them."""
    from torch.nn.attention.varlen import varlen_attn

    k, v = (part.repeat_interleave(q.shape[1] // part.shape[1], 1) for part in (k, v))
    kernel: Callable[..., Any] = varlen_attn
    return kernel(q, k, v, starts, starts, longest, longest, scale=scale, window_size=(-1, 0)).flatten(1)


def _mix(
    q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, bias: Tensor | None, scale: float
) -> Tensor:
    """[B, T, heads * size] over padded rows."""
    rows, length, heads, size = q.shape
    if bias is None:
        mask = None if allowed is None else allowed[:, None]
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(
            q, k, v, mask, is_causal=mask is None, scale=scale, enable_gqa=True
        )
        return mixed.transpose(1, 2).reshape(rows, length, -1)
    shared = k.shape[2]
    grouped = (rows, shared, heads // shared, length)  # query heads beside the key head they share
    q = (q * scale).view(rows, length, shared, -1, size).permute(0, 2, 3, 1, 4)
    q = q.reshape(rows * shared, -1, size)
    k = k.permute(0, 2, 3, 1).reshape(rows * shared, size, length)
    v = v.transpose(1, 2).reshape(rows * shared, length, size)
    weights = (torch.bmm(q, k).view(*grouped, length) + bias).softmax(-1)
    mixed = torch.bmm(weights.view(rows * shared, -1, length), v).view(*grouped, size)
    return mixed.permute(0, 3, 1, 2, 4).reshape(rows, length, -1)
