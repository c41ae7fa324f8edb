"""Records what verl computes, for the parity tests: verl_numbers.json beside this file.

verl is no dependency; this runs where `pip install verl==0.9.1` has been done:

    python tests/unit/verl_numbers.py > tests/unit/verl_numbers.json

Everything is float64. Sequences of 5, 3 and 1 tokens lie in rows of 5, padded on the right; what is written out
are the real tokens of each, row by row.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

LENGTHS = (5, 3, 1)


def main() -> None:
    """Print the JSON."""
    from verl.trainer.ppo import core_algos
    from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_weights
    from verl.utils.torch_functional import masked_whiten
    from verl.workers.config import ActorConfig

    rng = np.random.default_rng(7)
    mask = torch.tensor([[float(t < n) for t in range(max(LENGTHS))] for n in LENGTHS], dtype=torch.float64)

    def draw(scale: float, shift: float = 0.0) -> Tensor:
        return torch.tensor(np.round(shift + scale * rng.normal(size=mask.shape), 3)) * mask

    def tokens(matrix: Tensor) -> list[list[float]]:
        return [row[:n].tolist() for row, n in zip(matrix, LENGTHS, strict=True)]

    scores = torch.tensor([1.0, -0.5, -1.0], dtype=torch.float64)
    rewards = torch.zeros_like(mask)
    for row, n in enumerate(LENGTHS):
        rewards[row, n - 1] = scores[row]
    values, predicted = draw(0.4), draw(0.7)
    old, new, reference, sampler = draw(0.6, -1.5), draw(0.6, -1.5), draw(0.6, -1.5), draw(0.9, -1.5)

    found: dict[str, Any] = {
        "verl": version("verl"),
        "lengths": LENGTHS,
        "scores": scores.tolist(),
        "values": tokens(values),
        "predicted": tokens(predicted),
        "old": tokens(old),
        "new": tokens(new),
        "reference": tokens(reference),
        "sampler": tokens(sampler),
        "whitened_values": tokens(masked_whiten(values, mask)),
    }
    gae = core_algos.compute_gae_advantage_return
    found["gae"] = []
    for gamma, lam in ((1.0, 1.0), (1.0, 0.95), (0.9, 0.5), (0.9, 0.0)):
        factors = (torch.tensor(factor, dtype=torch.float64) for factor in (gamma, lam))
        advantages, returns = gae(rewards, values, mask, *factors)
        case = {"gamma": gamma, "lam": lam, "advantages": tokens(advantages), "returns": tokens(returns)}
        found["gae"].append(case)
    found["kl_rewards"] = tokens(core_algos.compute_rewards(rewards, old, reference, 0.1) * mask)
    found["k3"] = tokens(core_algos.kl_penalty(new, reference, "k3") * mask)
    found["value_loss"] = []  # against the returns of the last case
    for clip in (0.2, 0.5, 100.0):
        loss, fraction = core_algos.compute_value_loss(predicted, returns, values, mask, clip)
        found["value_loss"].append({"clip": clip, "loss": loss.item(), "clip_fraction": fraction.item()})
    found["policy_loss"] = []
    advantages = draw(1.0)
    found["advantages"] = tokens(advantages)
    for mode, name in (("token-mean", "token_mean"), ("seq-mean-token-mean", "sequence_mean")):
        # The third bound, of dual clip, is set out of reach: it is no part of DAPO's loss.
        config = ActorConfig(
            strategy="fsdp",
            rollout_n=1,
            ppo_micro_batch_size_per_gpu=1,
            clip_ratio_low=0.2,
            clip_ratio_high=0.28,
            clip_ratio_c=1e9,
        )
        loss, metrics = core_algos.compute_policy_loss_vanilla(old, new, advantages, mask, mode, config)
        fraction = metrics["actor/pg_clipfrac"]
        found["policy_loss"].append({"loss": name, "value": loss.item(), "clip_fraction": fraction})
    found["importance"] = []
    for level in ("token", "sequence"):
        for cap, floor in ((2.0, None), (1.5, None), (2.0, 0.5)):
            spec = cap if floor is None else f"{floor}_{cap}"
            weights, _ = compute_rollout_correction_weights(old - sampler, mask, level, spec)
            found["importance"].append(
                {"level": level, "cap": cap, "floor": floor, "weights": tokens(weights)}
            )
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found.items())
    print(f"{{\n{lines}\n}}")


if __name__ == "__main__":
    main()
