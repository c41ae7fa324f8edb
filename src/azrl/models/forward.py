"""A lean forward pass over the parameters of a transformers Qwen2 or Qwen3 module, for training and scoring.

Same function as the module, fewer and larger operations: one matrix for query, key and value, every norm
weight folded into the matrix behind it (as the decoding engine does, so that both round alike), each weight
cast once a pass. The residual stream stays float32, matrices multiply in `dtype`. Gradients reach the
module's own parameters. Any other architecture runs through its own transformers module under autocast.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

# Beyond this many positions the score matrix no longer pays for itself against a flash kernel.
_EXPLICIT_POSITIONS = 1024


def hidden_states(
    model: PreTrainedModel,
    ids: Tensor,
    positions: Tensor,
    allowed: Tensor | None,
    dtype: torch.dtype,
    wanted: Tensor,
) -> Tensor:
    """What `logits` reads: [N, H] at the `wanted` flat positions (row * T + column), int64 [N], for token
    `ids` [B, T] at rotary `positions` [B, T].

    `allowed` is bool [B, T, T] (may position i look at j; every row needs one True) or None for causal. With
    None, what lies right of a position never reaches it, so right padding needs no mask."""
    if not _is_lean(model):
        mask = None if allowed is None else allowed[:, None]
        with torch.autocast(ids.device.type, dtype, enabled=dtype != torch.float32):
            found = model.base_model(
                input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False
            )
        return found.last_hidden_state.flatten(0, 1)[wanted]
    config = model.config
    trunk: Any = model.base_model
    x = F.embedding(ids, trunk.embed_tokens.weight).float()
    cos, sin = trunk.rotary_emb(x, positions)
    half = cos.shape[-1] // 2
    rotary = (cos[:, :, None, :half].to(dtype), sin[:, :, None, :half].to(dtype))
    bias = _score_bias(allowed, ids, dtype)
    for layer in trunk.layers:
        x = x + _attention(layer, _normed(x, config.rms_norm_eps, dtype), rotary, allowed, bias)
        if layer is trunk.layers[-1]:  # behind the last attention no position needs another
            x = x.flatten(0, 1)[wanted]
        mlp, scale = layer.mlp, layer.post_attention_layernorm.weight
        h = _normed(x, config.rms_norm_eps, dtype)
        gate = F.linear(h, (mlp.gate_proj.weight * scale).to(dtype))
        up = F.linear(h, (mlp.up_proj.weight * scale).to(dtype))
        x = x + F.linear(F.silu(gate) * up, mlp.down_proj.weight.to(dtype))
    return x


def logits(model: PreTrainedModel, hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """Next-token logits, float32 [..., V], for rows [..., H] of what `hidden_states` gave."""
    head = model.get_output_embeddings()
    if not _is_lean(model):
        with torch.autocast(hidden.device.type, dtype, enabled=dtype != torch.float32):
            return head(hidden).float()
    trunk: Any = model.base_model
    weight = (head.weight * trunk.norm.weight).to(dtype)
    return F.linear(_normed(hidden, model.config.rms_norm_eps, dtype), weight).float()


def _is_lean(model: PreTrainedModel) -> bool:
    """Whether this file knows the architecture."""
    config = model.config
    return (
        config.model_type in ("qwen2", "qwen3")
        and config.hidden_act == "silu"
        and set(config.layer_types) == {"full_attention"}
    )


def _normed(x: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """RMSNorm without its weight, computed in float32."""
    return F.rms_norm(x, (x.shape[-1],), eps=eps).to(dtype)


def _score_bias(allowed: Tensor | None, ids: Tensor, dtype: torch.dtype) -> Tensor | None:
    """What is added to attention scores, [T, T] or [B, 1, 1, T, T], where scores are computed explicitly;
    None where a fused kernel takes over. The CPU's fused kernel runs bfloat16 attention at a third of the
    speed of two matrix products (measured at 96 to 512 positions), and float32 attention faster."""
    length = ids.shape[1]
    if ids.device.type != "cpu" or dtype == torch.float32 or length > _EXPLICIT_POSITIONS:
        return None
    open_ = torch.ones(length, length, dtype=torch.bool).tril() if allowed is None else allowed[:, None, None]
    return torch.zeros(open_.shape, dtype=dtype).masked_fill_(~open_, float("-inf"))


def _attention(
    layer: Any,
    h: Tensor,
    rotary: tuple[Tensor, Tensor],
    allowed: Tensor | None,
    bias: Tensor | None,
) -> Tensor:
    """The attention block's addition to the residual stream, [B, T, H], from normed `h` [B, T, H]."""
    block, dtype, (rows, length, _) = layer.self_attn, h.dtype, h.shape
    parts, size = (block.q_proj, block.k_proj, block.v_proj), block.head_dim
    weight = torch.cat([part.weight for part in parts]) * layer.input_layernorm.weight
    offset = None if block.q_proj.bias is None else torch.cat([part.bias for part in parts]).to(dtype)
    qkv = F.linear(h, weight.to(dtype), offset).view(rows, length, -1, size)
    values = block.k_proj.out_features // size
    heads = qkv.shape[2] - 2 * values
    qk, v = qkv[:, :, : heads + values], qkv[:, :, heads + values :]
    if block.config.model_type == "qwen3":
        scale = torch.cat((block.q_norm.weight.expand(heads, -1), block.k_norm.weight.expand(values, -1)))
        qk = (F.rms_norm(qk.float(), (size,), eps=block.q_norm.variance_epsilon) * scale).to(dtype)
    left, right = qk.chunk(2, -1)
    cos, sin = rotary
    qk = torch.cat((left * cos - right * sin, right * cos + left * sin), -1)
    mixed = _mix(qk[:, :, :heads], qk[:, :, heads:], v, allowed, bias)
    return F.linear(mixed, block.o_proj.weight.to(dtype), block.o_proj.bias)


def _mix(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, bias: Tensor | None) -> Tensor:
    """Softmax attention [B, T, heads * size] of q [B, T, heads, size] over k and v [B, T, kv heads, size]."""
    rows, length, heads, size = q.shape
    if bias is None:
        mask = None if allowed is None else allowed[:, None]
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, enable_gqa=True)
        return mixed.transpose(1, 2).reshape(rows, length, -1)
    shared = k.shape[2]
    grouped = (rows, shared, heads // shared, length)  # query heads beside the key head they share
    q = (q * size**-0.5).view(rows, length, shared, -1, size).permute(0, 2, 3, 1, 4)
    q = q.reshape(rows * shared, -1, size)
    k = k.permute(0, 2, 3, 1).reshape(rows * shared, size, length)
    v = v.transpose(1, 2).reshape(rows * shared, length, size)
    weights = (torch.bmm(q, k).view(*grouped, length) + bias).softmax(-1)
    mixed = torch.bmm(weights.view(rows * shared, -1, length), v).view(*grouped, size)
    return mixed.permute(0, 3, 1, 2, 4).reshape(rows, length, -1)
