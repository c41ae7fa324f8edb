"""A transformers Qwen2 or Qwen3 module, read as the few matrices that decoding multiplies by.

Query, key and value projections become one matrix, gate and up another, and every RMSNorm weight is folded
into the matrix that follows it. Activations stay float32, as under autocast; matrices take the
engine's dtype.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

_STATIC_ROPE = ("default", "linear", "llama3", "yarn")


@dataclass(frozen=True, slots=True)
class Arch:
    """The shape of the network and the names of its parameters. `inv_freq` is float32 [head_dim / 2],
    `eps` (of every RMSNorm) a float32 scalar on the same device."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: Tensor
    inv_freq: Tensor
    rope_scale: float
    shapes: Mapping[str, torch.Size]

    @classmethod
    def of(cls, model: Any) -> Arch:
        """Read a Qwen2ForCausalLM or Qwen3ForCausalLM; ValueError names what this engine does not do."""
        config = model.config
        rope = config.rope_parameters["rope_type"]
        if config.model_type not in ("qwen2", "qwen3"):
            raise ValueError(f"the torch engine runs qwen2 and qwen3 models, not {config.model_type!r}")
        if config.hidden_act != "silu":
            raise ValueError(f"the torch engine knows the silu activation, not {config.hidden_act!r}")
        if set(config.layer_types) != {"full_attention"}:
            raise ValueError("the torch engine has no sliding-window attention")
        if rope not in _STATIC_ROPE:
            raise ValueError(f"the torch engine knows rope types {', '.join(_STATIC_ROPE)}, not {rope!r}")
        inv_freq = model.model.rotary_emb.inv_freq.float()
        return cls(
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=model.model.layers[0].self_attn.head_dim,
            eps=torch.tensor(config.rms_norm_eps, device=inv_freq.device),
            inv_freq=inv_freq,
            rope_scale=float(model.model.rotary_emb.attention_scaling),
            shapes={name: parameter.shape for name, parameter in model.named_parameters()},
        )

    def rotary(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines, float32 [length, head_dim]. The sines of the first half are negated: with them
        `x * cos + roll(x) * sin` is the rotation (Su et al., arXiv 2104.09864, in the half-split layout)."""
        angles = torch.outer(torch.arange(length, device=self.inv_freq.device).float(), self.inv_freq)
        cos, sin = angles.cos() * self.rope_scale, angles.sin() * self.rope_scale
        return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


@dataclass(frozen=True, slots=True)
class Layer:
    """One block. `qk_norm` (Qwen3) is float32 [heads + kv_heads, head_dim]."""

    qkv: Tensor
    qkv_bias: Tensor | None
    qk_norm: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    gate_up: Tensor
    down: Tensor


@dataclass(frozen=True, slots=True)
class Weights:
    """Everything that decoding reads. `embed` is float32 [vocab, hidden]; the rest [out, in] in `dtype`."""

    embed: Tensor
    layers: tuple[Layer, ...]
    head: Tensor
    dtype: torch.dtype


def named(weights: Weights) -> dict[str, Tensor]:
    """The matrices by field, such as `layers.0.qkv`."""
    layers = {
        f"layers.{index}.{part.name}": getattr(layer, part.name)
        for index, layer in enumerate(weights.layers)
        for part in fields(Layer)
    }
    found = {"embed": weights.embed, "head": weights.head, **layers}
    return {name: tensor.contiguous() for name, tensor in found.items() if tensor is not None}


def auto_dtype() -> torch.dtype:
    """bfloat16 where this CPU multiplies it in hardware, else float32."""
    capabilities = torch.cpu.get_capabilities()
    native = any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    return torch.bfloat16 if native else torch.float32


@torch.inference_mode()
def fuse(arch: Arch, params: Mapping[str, Tensor], dtype: torch.dtype) -> Weights:
    """Copy `params` (names as `model.named_parameters()`) into fused matrices.

    A tied head may be present or absent, as in a state dict. ValueError names missing, unknown and misshapen
    parameters before anything is copied.
    """
    tied = "lm_head.weight" not in arch.shapes
    unknown = set(params) - set(arch.shapes) - ({"lm_head.weight"} if tied else set())
    wrong = {name for name in set(arch.shapes) & set(params) if params[name].shape != arch.shapes[name]}
    for problem, names in (
        ("missing", set(arch.shapes) - set(params)),
        ("unknown", unknown),
        ("misshapen", wrong),
    ):
        if names:
            raise ValueError(f"{problem} weights: {', '.join(sorted(names)[:5])} ({len(names)} in all)")

    def get(name: str) -> Tensor:
        return params[name].detach().to(arch.inv_freq.device, torch.float32)

    def after_norm(norm: str, *names: str) -> Tensor:
        return (torch.cat([get(name) for name in names]) * get(norm)).to(dtype)

    def layer(prefix: str) -> Layer:
        attn, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
        biased, normed = f"{attn}.q_proj.bias" in arch.shapes, f"{attn}.q_norm.weight" in arch.shapes
        norms = [get(f"{attn}.{part}_norm.weight") for part in "qk"] if normed else []
        heads = (arch.heads, arch.kv_heads)
        return Layer(
            qkv=after_norm(
                f"{prefix}.input_layernorm.weight", *(f"{attn}.{part}_proj.weight" for part in "qkv")
            ),
            qkv_bias=torch.cat([get(f"{attn}.{part}_proj.bias") for part in "qkv"]).to(dtype)
            if biased
            else None,
            qk_norm=torch.cat([w.expand(n, -1) for w, n in zip(norms, heads, strict=True)])
            if normed
            else None,
            out=get(f"{attn}.o_proj.weight").to(dtype, copy=True),
            out_bias=get(f"{attn}.o_proj.bias").to(dtype, copy=True)
            if f"{attn}.o_proj.bias" in arch.shapes
            else None,
            gate_up=after_norm(
                f"{prefix}.post_attention_layernorm.weight",
                f"{mlp}.gate_proj.weight",
                f"{mlp}.up_proj.weight",
            ),
            down=get(f"{mlp}.down_proj.weight").to(dtype, copy=True),
        )

    embedding = "model.embed_tokens.weight"
    return Weights(
        embed=get(embedding).clone(),
        layers=tuple(layer(f"model.layers.{index}") for index in range(arch.layers)),
        head=after_norm("model.norm.weight", embedding if tied else "lm_head.weight"),
        dtype=dtype,
    )
