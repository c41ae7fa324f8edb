"""From logits to a token: inverse-CDF sampling with one uniform a row, or the argmax.

One running sum and one binary search a row; drawing a noise value for every entry of the vocabulary (the
exponential trick) costs several times as much on a CPU.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

GREEDY_BELOW = 1e-5
"""Temperatures below this are greedy: dividing by them would overflow."""


def nucleus(probs: Tensor, top_p: Tensor) -> Tensor:
    """Zero all but the smallest set of most probable tokens whose mass reaches `top_p`.

    `probs` is [rows, vocab], `top_p` [rows, 1]. At least the most probable token stays. Holtzman et al.,
    arXiv 1904.09751. The rest is not renormalised.
    """
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    beyond = (ordered.cumsum(-1) - ordered) >= top_p
    beyond[:, 0] = False
    return probs.masked_fill(torch.zeros_like(beyond).scatter_(1, order, beyond), 0.0)


def invert(probs: Tensor, uniform: Tensor) -> Tensor:
    """The token at which the running sum of `probs` [rows, vocab] passes `uniform` [rows] of its total.

    A token of probability zero is never drawn. Rows that are not finite give an arbitrary token.
    """
    cdf = probs.cumsum(-1)
    found = torch.searchsorted(cdf, uniform[:, None] * cdf[:, -1:], right=True)
    return found.clamp_max_(probs.shape[1] - 1)[:, 0]


class Sampler:
    """Draws for a batch whose rows may differ in temperature and top_p.

    `uniforms` is float32 [steps, rows]. Log-probabilities are those of the softmax at the row's temperature (1
    where it is greedy) over all tokens, whatever `top_p` leaves of them.
    """

    def __init__(
        self, uniforms: np.ndarray, temperature: list[float], top_p: list[float], device: torch.device
    ) -> None:
        greedy = [value < GREEDY_BELOW for value in temperature]
        self._plain = all(value == 1.0 for value in (*temperature, *top_p))
        self._any_greedy, self._all_greedy, self._any_top_p = any(greedy), all(greedy), min(top_p) < 1.0
        self._uniforms = torch.from_numpy(uniforms).to(device)
        self._greedy = torch.tensor(greedy, device=device)
        self._temperature = torch.tensor(temperature, device=device).masked_fill_(self._greedy, 1.0)[:, None]
        self._top_p = torch.tensor(top_p, device=device)[:, None]

    def draw(self, logits: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Tokens [rows] and their log-probabilities [rows], from float32 logits [rows, vocab]."""
        if self._plain:
            probs = logits.softmax(-1)
            tokens = invert(probs, self._uniforms[step])
            return tokens, probs.gather(1, tokens[:, None])[:, 0].log_()
        if self._all_greedy:
            tokens = logits.argmax(-1)
        else:
            logits = logits / self._temperature
            probs = logits.softmax(-1)
            tokens = invert(nucleus(probs, self._top_p) if self._any_top_p else probs, self._uniforms[step])
            if self._any_greedy:
                tokens = torch.where(self._greedy, logits.argmax(-1), tokens)
        return tokens, logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, in this order."""
        self._uniforms = self._uniforms[:, rows]
        self._greedy, self._temperature, self._top_p = (
            self._greedy[rows],
            self._temperature[rows],
            self._top_p[rows],
        )
