"""A lean forward pass over the parameters of a transformers Qwen2 or Qwen3 module, for training and scoring.

Same function as the module, fewer and larger operations: one matrix for query, key and value, every norm
weight folded into the matrix behind it (as the decoding engine does, so that both round alike), each weight
cast once a pass. The residual stream stays float32, matrices multiply in `dtype`. Gradients reach the
module's own parameters. Any other architecture, and one whose matrices carry adapters or are sharded, runs
through its own transformers module under autocast.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from azrl.models.attention import Layout, Packing

Rotary = tuple[Tensor, Tensor]


def hidden_states(
    model: PreTrainedModel,
    ids: Tensor,
    positions: Tensor | None,
    allowed: Tensor | None,
    dtype: torch.dtype,
    wanted: Tensor,
    *,
    packing: Packing | None = None,
    recompute: bool = False,
) -> Tensor:
    """What `logits` reads: [N, H] at the `wanted` flat positions (row * T + column), int64 [N], for token
    `ids` [B, T] at rotary `positions` [B, T].

    `allowed` is bool [B, T, T] (may position i look at j; every row needs one True) or None for causal. With
    None, what lies right of a position never reaches it, so right padding needs no mask, and positions may be
    None where they count from each row's start. With a `packing`, ids are one row of many sequences; a model
    that is not lean must have had `attention.take_packed`. `recompute` keeps no activations inside the blocks:
    the backward pass computes them anew (a model that is not lean does so when it was asked itself)."""
    if not is_lean(model):
        mask = None if allowed is None else allowed[:, None]
        given: dict[str, Any] = {} if positions is None else {"position_ids": positions}
        given |= {} if packing is None else {"packing": packing}
        with torch.autocast(ids.device.type, dtype, enabled=dtype != torch.float32):
            found = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False, **given)
        return found.last_hidden_state.flatten(0, 1)[wanted]
    config = model.config
    trunk: Any = model.base_model
    x = F.embedding(ids, trunk.embed_tokens.weight).float()
    if positions is None:
        positions = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
    cos, sin = trunk.rotary_emb(x, positions)
    half = cos.shape[-1] // 2
    rotary = (cos[:, :, None, :half].to(dtype), sin[:, :, None, :half].to(dtype))
    layout = Layout.of(ids, allowed, packing, dtype)
    for layer in trunk.layers:
        last = wanted if layer is trunk.layers[-1] else None
        if recompute and torch.is_grad_enabled():
            x = checkpoint(
                _block, layer, x, rotary, layout, config.rms_norm_eps, dtype, last, use_reentrant=False
            )
        else:
            x = _block(layer, x, rotary, layout, config.rms_norm_eps, dtype, last)
    return x


def head_weight(model: PreTrainedModel, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """The matrix [V, H] that makes logits of what `head_input` gives, and its bias. ValueError when the head is
    no plain matrix."""
    head: Any = model.get_output_embeddings()
    if type(head) is not nn.Linear:
        raise ValueError(
            f"the head of {type(model).__name__} is no plain matrix: set training.head_tokens=null"
        )
    if not is_lean(model):
        return head.weight.to(dtype), None if head.bias is None else head.bias.to(dtype)
    trunk: Any = model.base_model
    return (head.weight * trunk.norm.weight).to(dtype), None


def head_input(model: PreTrainedModel, hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """What `head_weight` multiplies, [..., H] in `dtype`, from what `hidden_states` gave."""
    return _normed(hidden, model.config.rms_norm_eps, dtype) if is_lean(model) else hidden.to(dtype)


def last_hidden_state(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """What transformers calls so, float32 [..., H], from what `hidden_states` gave: behind the final norm."""
    if not is_lean(model):
        return hidden.float()
    norm: Any = model.base_model.norm
    return F.rms_norm(hidden, (hidden.shape[-1],), norm.weight.float(), model.config.rms_norm_eps)


def logits(model: PreTrainedModel, hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """Next-token logits, float32 [..., V], for rows [..., H] of what `hidden_states` gave."""
    if not is_lean(model):
        with torch.autocast(hidden.device.type, dtype, enabled=dtype != torch.float32):
            return model.get_output_embeddings()(hidden).float()
    weight, _ = head_weight(model, dtype)
    return F.linear(head_input(model, hidden, dtype), weight).float()


def is_lean(model: PreTrainedModel) -> bool:
    """Whether this file knows the architecture and finds its matrices plain: neither adapted nor sharded."""
    config = model.config
    known = (
        config.model_type in ("qwen2", "qwen3")
        and config.hidden_act == "silu"
        and set(config.layer_types) == {"full_attention"}
    )
    trunk: Any = model.base_model
    return known and all(_plain(module) for layer in trunk.layers for module in _matrices(layer))


def _matrices(layer: Any) -> tuple[nn.Module, ...]:
    block, mlp = layer.self_attn, layer.mlp
    return (
        *(block.q_proj, block.k_proj, block.v_proj, block.o_proj),
        *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
    )


def _plain(module: nn.Module) -> bool:
    return type(module) is nn.Linear and type(module.weight) is nn.Parameter


def _block(
    layer: Any,
    x: Tensor,
    rotary: Rotary,
    layout: Layout,
    eps: float,
    dtype: torch.dtype,
    wanted: Tensor | None,
) -> Tensor:
    """One block of the residual stream [B, T, H]; with `wanted` only those rows of it go on, [N, H]."""
    x = x + _attention(layer, _normed(x, eps, dtype), rotary, layout)
    if wanted is not None:  # behind the last attention no position needs another
        x = x.flatten(0, 1)[wanted]
    mlp, scale = layer.mlp, layer.post_attention_layernorm.weight
    h = _normed(x, eps, dtype)
    gate = F.linear(h, (mlp.gate_proj.weight * scale).to(dtype))
    up = F.linear(h, (mlp.up_proj.weight * scale).to(dtype))
    return x + F.linear(F.silu(gate) * up, mlp.down_proj.weight.to(dtype))


def _normed(x: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """RMSNorm without its weight, computed in float32."""
    return F.rms_norm(x, (x.shape[-1],), eps=eps).to(dtype)


def _attention(layer: Any, h: Tensor, rotary: Rotary, layout: Layout) -> Tensor:
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
    mixed = layout.mix(qk[:, :, :heads], qk[:, :, heads:], v)
    return F.linear(mixed, block.o_proj.weight.to(dtype), block.o_proj.bias)
