"""The section `training`: advantages, loss, optimizer, memory, PPO's value head. Nothing here imports torch."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from azrl.config.section import Section


class Training(Section):
    rl_algorithm: Literal["TRR++", "TRR++_token", "REINFORCE++", "GRPO", "RLOO", "DR_GRPO", "PPO"] = "TRR++"
    """Advantage estimator; `PPO` learns a value head and gives each token an advantage of its own."""
    loss: Literal["token_mean", "sequence_mean"] = "token_mean"
    """How the PPO-clip loss is averaged."""
    optimizer: Literal["adamw"] = "adamw"
    learning_rate: PositiveFloat = 1e-4
    weight_decay: NonNegativeFloat = 0.0
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    beta2: float = Field(default=0.98, ge=0.0, lt=1.0)
    warmup_steps: NonNegativeInt = 0
    """Optimizer steps of linear warm-up."""
    lr_schedule: Literal["constant", "linear"] = "constant"
    """`linear`: the learning rate falls to zero as the run nears its end (`run.iterations` or `run.time_limit_s`,
    whichever is nearer; after a clock, a repeated run is not the same to the bit)."""
    max_grad_norm: PositiveFloat = 1.0
    clip_low: PositiveFloat = 0.2
    clip_high: PositiveFloat = 0.28
    """PPO-clip range of the ratio: [1 - clip_low, 1 + clip_high] (DAPO's asymmetric clip)."""
    ppo_epochs: PositiveInt = 1
    minibatches: PositiveInt = 2
    """Optimizer steps an epoch."""
    micro_batch_tokens: PositiveInt = 16384
    """Tokens a forward pass, padding included; gradients are accumulated, so it changes memory, not results. Halved
    when memory runs out."""
    batching: Literal["shared", "padded", "packed"] = "shared"
    """`shared`: completions of one prompt share a padded row; `padded`: each has its own, for any causal model;
    `packed`: rows end to end without padding (on a GPU in bfloat16 by a flash kernel, without shared prompts)."""
    head_tokens: PositiveInt | None = None
    """Tokens whose logits exist at once; the backward pass computes them anew. null: those of a whole micro-batch, 4
    bytes x vocabulary each, which a real model's memory will not hold."""
    gradient_checkpointing: bool = False
    """Keep no activations inside the blocks and compute them again in the backward pass: less memory, a third more
    work."""
    lora_rank: NonNegativeInt = 0
    """Train low-rank adapters of this rank (package peft) and freeze the model; 0 trains all weights."""
    lora_alpha: PositiveFloat = 32.0
    """Adapters count by lora_alpha / lora_rank."""
    lora_targets: tuple[str, ...] = ("all-linear",)
    """The modules that get adapters, by the last part of their names, such as q_proj; `all-linear`: every matrix but
    the head."""
    optimizer_offload: bool = False
    """Keep AdamW's moments and float32 copies of the trained weights in the CPU's memory and step there."""
    weights_dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision in which the learner keeps the model. bfloat16 alone would swallow small steps, so it needs float32
    adapters (lora_rank) or copies (optimizer_offload)."""
    use_kl: bool = False
    kl_coeff: NonNegativeFloat = 0.001
    """Weight of the KL penalty to the starting model (k3 estimator), when use_kl."""
    kl_in_reward: bool = False
    """PPO with use_kl: each token's reward loses kl_coeff (log p - log p_ref), and the loss has no KL term."""
    entropy_coeff: NonNegativeFloat = 0.0
    importance_cap: PositiveFloat | None = 2.0
    """Importance sampling between sampler and trainer: the largest weight; null turns it off, and the sampler's
    log-probabilities are taken for the old policy's."""
    importance_mode: Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"] = (
        "token_truncate"
    )
    """A weight for each token or their product for the whole sequence; one above the cap is cut to it (TIS), or
    its token or sequence is left out of the policy loss (MIS)."""
    importance_floor: NonNegativeFloat = 0.0
    """`*_mask`: smaller weights are left out too (IcePop)."""
    cell_prior: NonNegativeFloat = 16.0
    """TRR++: how many samples the running mean and std of a cell count for against the batch's own."""
    gamma: float = Field(default=1.0, gt=0.0, le=1.0)
    """PPO: what a reward is multiplied by for each token that it lies ahead."""
    gae_lambda: float = Field(default=1.0, ge=0.0, le=1.0)
    """PPO: 1 trusts rewards alone, smaller values trust the value head more: less noise, more bias."""
    value_learning_rate: PositiveFloat = 1e-3
    """PPO: the value head's own, constant."""
    value_clip: PositiveFloat | None = 0.5
    """PPO: how far one update may move a value (in rewards); null: any distance."""
    value_epochs: PositiveInt = 4
    """PPO: passes of the value head over an update's tokens, each of `minibatches` steps; cheap, as the hidden
    states are computed once."""

    @field_validator("kl_in_reward")
    @classmethod
    def _with_ppo(cls, on: bool, info: ValidationInfo) -> bool:
        if on and not (info.data.get("rl_algorithm") == "PPO" and info.data.get("use_kl")):
            raise ValueError("needs rl_algorithm: PPO and use_kl: true")
        return on

    @field_validator("importance_floor")
    @classmethod
    def _below_the_cap(cls, floor: float, info: ValidationInfo) -> float:
        cap, mode = info.data.get("importance_cap"), str(info.data.get("importance_mode", "_mask"))
        if floor and (cap is None or floor > cap or not mode.endswith("_mask")):
            raise ValueError(
                "needs an importance_mode that masks, and an importance_cap that is not below it"
            )
        return floor

    @field_validator("weights_dtype")
    @classmethod
    def _exact_somewhere(cls, name: str, info: ValidationInfo) -> str:
        if name != "float32" and not (info.data.get("lora_rank") or info.data.get("optimizer_offload")):
            raise ValueError("needs lora_rank above 0 or optimizer_offload: true")
        return name
