"""The forward pass: one body for prompts and for single steps; only attention differs.

Prompts are packed: the matrices multiply real tokens only, and attention alone sees a padded grid. Rows are
aligned on the right, so that all of them write the same cache column at each step. Rotary attention depends
on relative positions, hence the column number serves every row as its position, whatever its padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from azrl.engine.weights import Arch, Weights

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, queries [R, heads, d], keys [R, kv, d], values [R, kv, d]) -> [R, heads * d]"""

_MASKED = -1e30
_PREFILL_CELLS = 2048
"""Grid cells read at once: larger chunks fall out of the CPU's caches."""


def rms_norm(x: Tensor, eps: Tensor) -> Tensor:
    """x / sqrt(mean(x**2) + eps) over the last dimension, in half the time of torch's own on a CPU."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x * torch.addcmul(eps, norm, norm, value=1 / x.shape[-1]).rsqrt_()


def forward(
    arch: Arch,
    w: Weights,
    tokens: Tensor,
    cos: Tensor,
    sin: Tensor,
    attend: Attend,
    keep: Tensor | None = None,
) -> Tensor:
    """Float32 logits [R or len(keep), vocab] of tokens [R]; the last layer goes on with rows `keep` only.

    `cos` and `sin` broadcast over [R, heads, head_dim]. The residual stream, norms, rotations and attention
    are float32; the matrix products run in the weights' dtype.
    """
    x = F.embedding(tokens, w.embed)
    both, half = arch.heads + arch.kv_heads, arch.head_dim // 2
    for index, layer in enumerate(w.layers):
        normed = rms_norm(x, arch.eps).to(w.dtype)
        qkv = (
            F.linear(normed, layer.qkv, layer.qkv_bias).float().view(-1, both + arch.kv_heads, arch.head_dim)
        )
        qk = qkv[:, :both]
        if layer.qk_norm is not None:
            qk = rms_norm(qk, arch.eps) * layer.qk_norm
        qk = torch.addcmul(qk * cos, qk.roll(half, -1), sin)
        y = attend(index, qk[:, : arch.heads], qk[:, arch.heads :], qkv[:, both:])
        if keep is not None and index == arch.layers - 1:
            x, y = x[keep], y[keep]
        x += F.linear(y.to(w.dtype), layer.out, layer.out_bias)
        gate, up = F.linear(rms_norm(x, arch.eps).to(w.dtype), layer.gate_up).chunk(2, -1)
        x += F.linear(F.silu(gate).mul_(up), layer.down)
    return F.linear(rms_norm(x, arch.eps).to(w.dtype), w.head).float()


class Cache:
    """Keys (transposed, so that scores are a plain product) and values of all rows, one column a position.

    `keys` is [layers, rows, kv, head_dim, length], `values` [layers, rows, kv, length, head_dim]. Both are
    float32: on a CPU, batched products of matrices as small as these are slower in bfloat16.
    """

    def __init__(self, arch: Arch, w: Weights, rows: int, length: int) -> None:
        # Zeros, because what padding hides must be finite: no mask hides a NaN.
        kv, d, new = arch.kv_heads, arch.head_dim, w.embed.new_zeros
        self._arch, self._w, self._scale = arch, w, d**-0.5
        self._cos, self._sin = arch.rotary(length)
        self._keys, self._values = (
            new(arch.layers, rows, kv, d, length),
            new(arch.layers, rows, kv, length, d),
        )
        self._bias = torch.zeros(rows, kv, 1, length, device=w.embed.device)
        self._column = 0
        self._rows(rows)

    def _rows(self, rows: int) -> None:
        """Look at the first `rows` rows only; what follows is never read again."""
        self._keys, self._values = self._keys[:, :rows], self._values[:, :rows]
        self._bias = self._bias[:rows]
        self._flat_bias = self._bias.flatten(0, 1)
        self._layers = [
            (keys, values, keys.flatten(0, 1), values.flatten(0, 1))
            for keys, values in zip(self._keys, self._values, strict=True)
        ]

    def keep(self, holes: Tensor, movers: Tensor, rows: int) -> None:
        """Shrink to `rows` rows after moving rows `movers` into the places `holes`."""
        self._keys[:, holes], self._values[:, holes] = self._keys[:, movers], self._values[:, movers]
        self._bias[holes] = self._bias[movers]
        self._rows(rows)

    def fill(self, prompts: Sequence[Sequence[int]], owners: Tensor) -> Tensor:
        """Read each prompt once and give row r the keys and values of prompt `owners[r]`.

        Returns the logits [len(prompts), vocab] that follow each prompt; none may be empty. They are read a
        chunk at a time, each as wide as its longest, so neighbours of like length waste least.
        """
        end = self._column = max(map(len, prompts))
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=owners.device)
        padded = torch.arange(end, device=owners.device) < (end - lengths)[:, None]
        self._bias[..., :end].masked_fill_(padded[owners][:, None, None], _MASKED)
        logits, chunk = [], max(1, _PREFILL_CELLS // end)
        for start in range(0, len(prompts), chunk):
            part = prompts[start : start + chunk]
            first = end - max(map(len, part))
            targets = ((owners >= start) & (owners < start + len(part))).nonzero()[:, 0]
            sources = owners[targets] - start

            def store(
                layer: int,
                k: Tensor,
                v: Tensor,
                at: Tensor = targets,
                of: Tensor = sources,
                first: int = first,
            ) -> None:
                keys, values = self._layers[layer][:2]
                keys[at, ..., first:end] = k[of].transpose(2, 3)
                values[at, :, first:end] = v[of]

            last = lengths[start : start + chunk].cumsum(0) - 1
            tables = self._cos[first:end], self._sin[first:end]
            logits.append(read(self._arch, self._w, part, *tables, last, store))
        return torch.cat(logits)

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token [rows] to every row; the logits [rows, vocab] that follow."""
        column = self._column
        self._column += 1
        return forward(self._arch, self._w, tokens, self._cos[column], self._sin[column], self._attend)

    def _attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        column, until = self._column - 1, self._column
        keys, values, flat_keys, flat_values = self._layers[layer]
        keys[..., column] = k
        values[:, :, column] = v
        q = q.reshape(len(flat_keys), -1, self._arch.head_dim)
        scores = torch.baddbmm(self._flat_bias[..., :until], q, flat_keys[..., :until], alpha=self._scale)
        return torch.bmm(scores.softmax(-1), flat_values[:, :until]).view(len(k), -1)


def read(
    arch: Arch,
    w: Weights,
    rows: Sequence[Sequence[int]],
    cos: Tensor,
    sin: Tensor,
    keep: Tensor,
    store: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Logits [len(keep), vocab] at the packed positions `keep` of `rows`.

    The rows are aligned right in as many columns as `cos` and `sin` [width, head_dim] have. `store` is shown
    each layer's keys and values, [len(rows), kv, width, head_dim], zero where padded.
    """
    device, width = keep.device, len(cos)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    columns = torch.arange(width, device=device)
    real = columns >= (width - lengths)[:, None]
    cells = real.flatten().nonzero()[:, 0]
    cos, sin = (table[cells % width][:, None] for table in (cos, sin))
    causal = columns[:, None] >= columns
    # A padded query sees itself: softmax over nothing is not a number.
    mask = (causal & real[:, None] | torch.eye(width, dtype=torch.bool, device=device))[:, None]

    def grid(packed: Tensor) -> Tensor:
        padded = packed.new_zeros(len(rows) * width, *packed.shape[1:])
        return padded.index_copy_(0, cells, packed).view(len(rows), width, *packed.shape[1:]).transpose(1, 2)

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = grid(k), grid(v)
        if store is not None:
            store(layer, keys, values)
        y = F.scaled_dot_product_attention(grid(q), keys, values, attn_mask=mask, enable_gqa=True)
        return y.transpose(1, 2).reshape(len(rows) * width, -1)[cells]

    tokens = torch.tensor([token for row in rows for token in row], device=device)
    return forward(arch, w, tokens, cos, sin, attend, keep)
