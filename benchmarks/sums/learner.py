"""The learner: answers sums by sampling, learns from rewards of 0 and 1, and is measured greedily."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from azrl.rl import advantages
from sums.problems import CHAIN, TOKENS, WIDTH, Ints, Place, Problems
from sums.transformer import START, Transformer

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """Sizes and rates. `entropy` weighs a bonus over all problems, without which answers that are never right
    become so sure that nothing is ever tried again."""

    width: int = 32
    heads: int = 4
    layers: int = 1
    warm_steps: int = 300
    warm_rate: float = 3e-3
    groups: int = 64
    rollouts: int = 8
    rate: float = 3e-3
    entropy: float = 0.01


class Learner:
    """One model and its optimizer."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self.recipe = recipe
        self.model = Transformer(recipe.width, recipe.heads, recipe.layers, seed)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=recipe.rate, betas=(0.9, 0.99), fused=True
        )
        self.noise = torch.Generator().manual_seed(seed)

    def warm_start(self, rng: np.random.Generator) -> None:
        """Supervised steps before any reward: half of the problems are of the chain's easiest arm, half of the
        others; where an answer goes on after the easiest arm's places its tokens are random. So the model knows the
        easiest arm and the form of longer answers, and is sure of nothing else."""
        n, shown = 128, np.arange(WIDTH) < CHAIN.levels[0]
        self.optimizer.param_groups[0]["lr"] = self.recipe.warm_rate
        arms = np.where(np.arange(n) < n // 2, 0, rng.integers(1, len(CHAIN.arms), n))
        for _ in range(self.recipe.warm_steps):
            problems = CHAIN.draw(arms, rng)
            target = np.where(shown, problems.answers, rng.integers(0, TOKENS, (n, WIDTH)))
            mask = _mask(problems)
            likely = _taken(
                self.logprobs(problems, given := torch.from_numpy(target)[:, None].clamp(min=0)), given
            )
            self._step(-(likely * mask).sum() / mask.sum())
        self.optimizer.state.clear()
        self.optimizer.param_groups[0]["lr"] = self.recipe.rate

    def practise(self, problems: Problems) -> Floats:
        """Rewards [n, rollouts] of sampled answers, from which the model then learns one step: REINFORCE with
        GRPO's advantages, all tokens alike, and the entropy of one answer a problem."""
        given = self.sample(problems, self.recipe.rollouts)
        rewards = problems.right(given.numpy()).astype(np.float64)
        informative = np.ptp(rewards, axis=1) > 0
        first = np.arange(self.recipe.rollouts) == 0
        row, column = np.nonzero(informative[:, None] | first)
        chosen, answers = problems[row], given[torch.from_numpy(row), torch.from_numpy(column)][:, None]
        logp, mask = self.logprobs(chosen, answers), _mask(chosen)
        worth = torch.from_numpy(_advantages(rewards)[row, column] / rewards.size).float()[:, None, None]
        certainty = (logp.exp() * logp).sum(-1) * torch.from_numpy(first[column] / len(rewards)).float()[
            :, None, None
        ]
        loss = ((self.recipe.entropy * certainty - worth * _taken(logp, answers)) * mask).sum()
        self._step(loss)
        return rewards

    def logprobs(self, problems: Problems, given: Tensor) -> Tensor:
        """Log-probabilities [n, rollouts, longest, TOKENS] at each place of given answers [n, rollouts, WIDTH]."""
        longest = int(problems.length.max())
        before = torch.cat([torch.full_like(given[..., :1], START), given[..., : longest - 1]], dim=-1)
        places = torch.from_numpy(problems.first)[:, None] + torch.arange(longest)
        read = self.model.read(torch.from_numpy(problems.columns))
        return self.model.answer(read, before, places.clamp(max=WIDTH - 1))[0].log_softmax(-1)

    @torch.no_grad()
    def sample(self, problems: Problems, rollouts: int, *, greedy: bool = False) -> Tensor:
        """Answers [n, rollouts, WIDTH], 0 after their length. Longest first, so that those done are left out."""
        order = np.argsort(-problems.length, kind="stable")
        queue = problems[order]
        first = torch.from_numpy(queue.first)[:, None]
        read = self.model.read(torch.from_numpy(queue.columns))
        answers = torch.zeros(len(order), rollouts, WIDTH, dtype=torch.long)
        token, past = torch.full((len(order), rollouts, 1), START), None
        for k in range(queue.length[0]):
            n = int((queue.length > k).sum())
            logits, past = self.model.answer(
                [memory.first(n) for memory in read],
                token[:n],
                first[:n] + k,
                None if past is None else [memory.first(n) for memory in past],
            )
            token = logits.argmax(-1) if greedy else self._draw(logits)
            answers[:n, :, k] = token[..., 0]
        back = torch.empty_like(answers)
        back[torch.from_numpy(order)] = answers
        return back

    def solved(self, problems: Problems) -> NDArray[np.bool_]:
        """Which of the problems [n] the model solves with the likeliest tokens."""
        return problems.right(self.sample(problems, 1, greedy=True).numpy())[:, 0]

    def _draw(self, logits: Tensor) -> Tensor:
        chance = logits.softmax(-1).flatten(0, 2)
        return torch.multinomial(chance, 1, generator=self.noise).view(logits.shape[:3])

    def _step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()


def exam(place: Place, each: int, seed: int) -> Problems:
    """Held-out problems, `each` of every arm in turn."""
    arms: Ints = np.repeat(np.arange(len(place.arms)), each)
    return place.draw(arms, np.random.default_rng([3, seed]), held_out=True)


def _advantages(rewards: Floats) -> Floats:
    """GRPO's, of groups [n, rollouts]."""
    found = np.zeros_like(rewards)
    if len(rows := np.flatnonzero(np.ptp(rewards, axis=1))):
        groups = np.repeat(rows, rewards.shape[1]).tolist()
        cells = [("sum", "solver")] * len(groups)
        found[rows] = advantages.estimate("grpo", rewards[rows].ravel(), cells=cells, groups=groups).reshape(
            -1, rewards.shape[1]
        )
    return found


def _taken(logp: Tensor, given: Tensor) -> Tensor:
    return logp.gather(-1, given[..., : logp.shape[2], None]).squeeze(-1)


def _mask(problems: Problems) -> Tensor:
    """1 at the places [n, 1, longest] that an answer has."""
    longest = int(problems.length.max())
    return torch.from_numpy((np.arange(longest) < problems.length[:, None]).astype(np.float32))[:, None]
