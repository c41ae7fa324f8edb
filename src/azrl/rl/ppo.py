"""PPO (Schulman et al., arXiv 1707.06347): the learner with a critic, so that every token has its own advantage.

One update: a pass without gradient gives the hidden states before all tokens; the value head reads them; GAE turns
rewards and values into advantages, which are whitened over the update's tokens; the policy takes its steps on them
with the same clipped loss as every other estimator; the head is fitted to the returns.

`Sample.advantage` is here the completion's reward (the proposer's scaled by `selfplay.proposer_weight`): an
advantage over nothing, from which the values are yet to be taken. With `training.kl_in_reward` each token's reward
also loses kl_coeff (log p - log p_ref) and the loss has no KL term.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from azrl.config.schema import Training
from azrl.rl.critic import Critic
from azrl.rl.gae import gae, token_rewards, whiten
from azrl.rl.learner import TorchLearner, check
from azrl.rl.ranks import ALONE, Ranks
from azrl.rl.storage import Shards, read_index, write_index, write_tensors
from azrl.rl.types import Sample

FOLDER, VALUE = "value", "value.safetensors"


class PPOLearner:
    """Keeps `azrl.rl.types.Learner` with a `TorchLearner` for the policy and a `Critic` beside it.

    A checkpoint is the policy's, with the value head and its optimizer in a folder `value` in it. Of several
    `ranks` each fits the same head to the same numbers. Memory: the hidden states of one update's completion tokens,
    [N, H] in `dtype`."""

    def __init__(
        self,
        model: PreTrainedModel,
        config: Training,
        *,
        pad_id: int,
        dtype: torch.dtype = torch.float32,
        on_failure: Path | None = None,
        temperature: float = 1.0,
        seed: int = 0,
        ranks: Ranks = ALONE,
    ) -> None:
        inner = config.model_copy(update={"kl_coeff": 0.0}) if config.kl_in_reward else config
        self.config = config
        self.dtype = dtype
        self.policy = TorchLearner(
            model,
            inner,
            pad_id=pad_id,
            dtype=dtype,
            on_failure=on_failure,
            temperature=temperature,
            seed=seed,
            ranks=ranks,
        )
        self.critic = Critic(model.config.hidden_size, config, model.device, seed)
        self.version = 0

    def update(self, samples: Sequence[Sample], *, seed: int, progress: float = 0.0) -> dict[str, float]:
        """As `TorchLearner.update`, with `Critic.fit`'s metrics, `value_mean` (of the values before the update)
        and, with `kl_in_reward`, `kl_reward` (mean log p - log p_ref a token, nats)."""
        policy, config = self.policy, self.config
        check(samples)
        pairs = [(sample.prompt_ids, sample.token_ids) for sample in samples]
        states = policy.features(pairs)
        flat = torch.cat([states[i].to(self.dtype) for i in range(len(samples))])
        before = self.critic.values(flat)
        values = np.split(before.double().cpu().numpy(), np.cumsum([len(tokens) for _, tokens in pairs])[:-1])
        penalties, metrics = self._penalties(samples)
        estimates = [
            gae(
                token_rewards(sample.advantage, len(sample.token_ids), penalty),
                v,
                gamma=config.gamma,
                lam=config.gae_lambda,
            )
            for sample, penalty, v in zip(samples, penalties, values, strict=True)
        ]
        advantages = whiten([advantage for advantage, _ in estimates])
        lessons = [
            replace(sample, token_advantages=tuple(advantage.tolist()))
            for sample, advantage in zip(samples, advantages, strict=True)
        ]
        metrics |= policy.update(lessons, seed=seed, progress=progress)
        self.version = policy.version
        returns = torch.from_numpy(np.concatenate([r for _, r in estimates])).to(before)
        metrics["value_mean"] = before.mean().item()
        return metrics | self.critic.fit(flat, returns, before, seed)

    def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """As `TorchLearner.score`."""
        return self.policy.score(sequences)

    def weights(self) -> Mapping[str, Tensor]:
        """The policy's; the value head is nothing that an engine needs."""
        return self.policy.weights()

    def save(self, folder: Path) -> None:
        """The policy's checkpoint, with the critic in `folder`/value; OSError when the disk refuses."""
        self.policy.save(folder)
        if self.policy.ranks.rank == 0:
            digest = write_tensors(folder / FOLDER / VALUE, self.critic.tensors())
            write_index(folder / FOLDER, {"fitted": self.critic.fitted}, {VALUE: digest})

    def load(self, folder: Path) -> None:
        """Go on bit for bit from what `save` wrote. ValueError, and nothing changed, when the folder is not one of
        ours, is damaged, belongs to another model or was saved without a value head."""
        if not (folder / FOLDER).is_dir():
            raise ValueError(
                f"{folder} has no value head: the run that saved it had another rl_algorithm than PPO"
            )
        meta, digests = read_index(folder / FOLDER)
        shapes = self.critic.shapes(fitted=bool(meta.get("fitted")))
        with closing(Shards(folder / FOLDER, (VALUE,), digests)) as saved:
            saved.check(shapes)
            tensors = {name: saved.whole(name) for name in shapes}
        self.policy.load(folder)
        self.critic.restore(tensors)
        self.version = self.policy.version

    def _penalties(self, samples: Sequence[Sample]) -> tuple[list[np.ndarray | None], dict[str, float]]:
        """What each token's reward loses to the reference, kl_coeff (log p - log p_ref) with the sampler's log p;
        nothing without `kl_in_reward`."""
        if not self.config.kl_in_reward:
            return [None] * len(samples), {}
        reference = self.policy.reference_scores([(s.prompt_ids, s.token_ids) for s in samples])
        distances = [
            np.array(sample.logprobs) - reference[i].double().cpu().numpy()
            for i, sample in enumerate(samples)
        ]
        mean = float(np.concatenate(distances).mean())
        return [self.config.kl_coeff * distance for distance in distances], {"kl_reward": mean}
