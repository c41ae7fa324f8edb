"""From a sequence's reward to each token's advantage: generalised advantage estimation and whitening.

numpy float64, one sequence at a time. An episode is a completion, an action a token; the state before token t is
the prompt and the tokens before it. The reward comes with the last token, and the episode ends there, whether with
an end token or cut off: nothing is hoped for behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_EPS = 1e-8


def token_rewards(score: float, length: int, penalty: np.ndarray | None = None) -> np.ndarray:
    """Rewards [length] of a completion that earned `score`: all of it at the last token, less `penalty` [length]
    a token (such as kl_coeff (log p - log p_ref), Ziegler et al., arXiv 1909.08593)."""
    rewards = np.zeros(length) if penalty is None else -penalty.astype(np.float64)
    rewards[-1] += score
    return rewards


def gae(
    rewards: np.ndarray, values: np.ndarray, *, gamma: float, lam: float
) -> tuple[np.ndarray, np.ndarray]:
    """(advantages, returns) [T] of `rewards` and `values` [T]. Schulman et al., arXiv 1506.02438, Eq. 16:

        delta_t = r_t + gamma V_{t+1} - V_t, V_T = 0;   A_t = delta_t + gamma lam A_{t+1};   return_t = A_t + V_t

    lam = 1: the discounted rewards to come less V (no bias of the values); lam = 0: the one-step error alone."""
    advantages = np.zeros(len(rewards))
    following, advantage = 0.0, 0.0
    for t in range(len(rewards) - 1, -1, -1):
        advantage = rewards[t] + gamma * following - values[t] + gamma * lam * advantage
        advantages[t], following = advantage, values[t]
    return advantages, advantages + values


def whiten(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """`parts` with the mean of all their numbers taken away, divided by sqrt(sample variance + 1e-8); what PPO's
    implementations do to advantages (Huang et al. 2022, "The 37 implementation details of PPO", 7). A single
    number, or numbers that are all equal, become 0."""
    flat = np.concatenate(parts)
    centred = flat - flat.mean()
    if np.ptp(flat) == 0:
        centred[:] = 0.0
    variance = (centred**2).sum() / max(len(flat) - 1, 1)
    return np.split(centred / np.sqrt(variance + _EPS), np.cumsum([len(part) for part in parts])[:-1])
