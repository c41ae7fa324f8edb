"""The learner: AdamW on the PPO-clip loss over a transformers module, any device, one process or several.

One `update` is `ppo_epochs` x `minibatches` optimizer steps. Micro-batches only bound memory: each token's
weight in the loss is fixed for the whole minibatch first. The old policy of the PPO ratio is the trainer's
own at the start of the update, and what separates it from the sampler (another precision, another kernel)
is corrected by an importance weight (`correction.py`); with `importance_cap` null the sampler's log-probabilities are
the old policy themselves.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from azrl.config.schema import Training
from azrl.rl.batching import MicroBatch, Pair, Row, assemble, microbatches_of, minibatches_of, rows_of
from azrl.rl.checkpoint import Trained, load, save, whole
from azrl.rl.lora import Merged
from azrl.rl.losses import token_weights
from azrl.rl.memory import Budget, OutOfMemory
from azrl.rl.model import Policy, build_policy
from azrl.rl.objective import micro_batch_loss
from azrl.rl.optimizer import build_optimizer, rate_share
from azrl.rl.ranks import ALONE, Ranks
from azrl.rl.storage import write_batch
from azrl.rl.types import NonFinite, Sample

Measured = list[tuple[int, dict[str, float]]]


class TorchLearner:
    """Trains `model` (taken over) by `config`; matrices multiply in `dtype`. The policy that is trained is the one
    that sampled: the softmax of logits / `temperature`. Of several `ranks` each holds a shard of it, and all must
    make the same calls. Fresh adapters are a function of `seed`.

    A batch that cannot be learned from (not finite, too large for the memory) is written into `on_failure`, if
    given. Dropout is off. Not thread-safe. UserError: settings that this model cannot do."""

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
        self.config = config
        self.pad_id = pad_id
        self.on_failure = on_failure
        self.temperature = temperature
        self.ranks = ranks
        self.version = 0
        self._policy: Policy = build_policy(
            model, config, dtype, seed=seed, ranks=ranks, temperature=temperature
        )
        self.model = self._policy.scorer.model
        self._named = self._policy.trained()
        self._budget = Budget(config.micro_batch_tokens, divisible=ranks.size == 1)
        self.optimizer = build_optimizer(self._named.values(), config)

    def update(self, samples: Sequence[Sample], *, seed: int, progress: float = 0.0) -> dict[str, float]:
        """Train on `samples`; which go together is a function of `seed` alone. `progress` is the share of the run
        that is over, 0 to 1: what a schedule goes by.

        Metrics: `loss`, `grad_norm` (before clipping; both means over steps), `lr` (of the last step) and, per
        completion token, `entropy_exact` (nats, of the whole distribution), `kl` (k3, old against new policy),
        `clip_fraction`, `ratio_mean`, `ratio_max`, `mismatch_kl` (k3, sampler against trainer),
        `importance_mean` and `importance_beyond` (share of tokens with a weight out of bounds) when there is a
        cap, and `kl_reference` when there is a reference.
        ValueError: no samples, an empty one, or log-probabilities that do not match its tokens. NonFinite,
        OutOfMemory: see there; steps already taken in this update stand."""
        check(samples)
        try:
            if not all(np.isfinite((s.advantage, *s.token_advantages, *s.logprobs)).all() for s in samples):
                raise NonFinite("a sampler log-probability or an advantage is not finite")
            return self._update(samples, seed, progress)
        except (NonFinite, OutOfMemory) as error:
            self.optimizer.zero_grad()
            if self.on_failure is None or self.ranks.rank > 0:
                raise
            path = self.on_failure / f"{type(error).__name__.lower()}-{self.version}.json"
            write_batch(path, samples, {"reason": str(error), "version": self.version, "seed": seed})
            raise type(error)(f"{error}; the batch was saved to {path}") from error

    def score(self, sequences: Sequence[Pair]) -> list[list[float]]:
        """Log-probabilities (nats, temperature 1) of each completion's tokens, as `Engine.score`."""
        scores = self._each(self._rows(sequences), sequences, lambda batch: self._policy.scorer(batch)[0])
        return [scores[i].tolist() if i in scores else [] for i in range(len(sequences))]

    def features(self, sequences: Sequence[Pair]) -> dict[int, Tensor]:
        """Index of each pair to the hidden states [T, H] before its completion's tokens, without gradient: what a
        value head reads. Pairs without completion tokens are left out."""
        return self._each(self._rows(sequences), sequences, self._policy.scorer.features)

    def reference_scores(self, sequences: Sequence[Pair]) -> dict[int, Tensor]:
        """Index of each pair to its completion's log-probabilities under the starting weights, at `temperature`.
        ValueError without `training.use_kl`, which alone keeps them."""
        if self._policy.reference is None:
            raise ValueError("there is no reference: set training.use_kl=true")
        return self._each(self._rows(sequences), sequences, self._policy.reference)

    def weights(self) -> Mapping[str, Tensor]:
        """What an engine samples from: parameters by transformers name, detached, with adapters added in; a tied
        head appears once, as embedding. Live where they are whole; of several processes the first one gets
        copies in the CPU's memory, the others nothing."""
        named: Mapping[str, Tensor] = dict(self.model.named_parameters())
        if self.ranks.size > 1:
            named = dict(whole(named, keep=self.ranks.rank == 0))
        if self._policy.adapters is not None:
            return Merged(self.model, named)
        return {name: parameter.detach() for name, parameter in named.items()}

    def save(self, folder: Path) -> None:
        """Write a transformers checkpoint (with LoRA: of peft) with optimizer and counters beside it; OSError when
        the disk refuses. See `checkpoint`."""
        save(folder, self._saved(), self.version)

    def load(self, folder: Path) -> None:
        """Go on bit for bit from what `save` wrote. ValueError, and nothing changed, when the folder is not
        one of ours, is damaged or belongs to another model."""
        self.version = load(folder, self._saved())

    def _saved(self) -> Trained:
        policy = self._policy
        reference = policy.reference_parameters()
        return Trained(self.model, self._named, self.optimizer, reference, policy.adapters, self.ranks)

    def _rows(self, pairs: Sequence[Pair]) -> list[Row]:
        return rows_of(pairs, shared=self._policy.shares_prompts)

    def _assemble(self, rows: Sequence[Row], pairs: Sequence[Pair]) -> MicroBatch:
        how = self.config.batching
        return assemble(
            rows, pairs, self.pad_id, self._policy.device, packed=how == "packed", positions=how != "padded"
        )

    def _update(self, samples: Sequence[Sample], seed: int, progress: float) -> dict[str, float]:
        config, pairs = self.config, [(sample.prompt_ids, sample.token_ids) for sample in samples]
        rows = self._rows(pairs)
        rng = np.random.default_rng(seed)
        steps = [
            part for _ in range(config.ppo_epochs) for part in minibatches_of(rows, config.minibatches, rng)
        ]
        if config.importance_cap is None:
            old = {i: torch.tensor(s.logprobs, device=self._policy.device) for i, s in enumerate(samples)}
        else:
            # The first step's own forward pass gives the old policy of its rows; the rest is scored before.
            first = set(steps[0])
            left = [row for row in rows if row not in first]
            old = self._each(
                left, pairs, lambda batch: self._policy.scorer(batch, temperature=self.temperature)[0]
            )
        totals: dict[str, float] = defaultdict(float)
        largest = 0.0
        for minibatch in steps:
            for count, metrics in self._step(minibatch, samples, old, progress):
                largest = max(largest, metrics.pop("ratio_max", 0.0))
                for name, value in metrics.items():
                    totals[name] += count * value
                    totals[f"/{name}"] += count
        means = {name: value / totals[f"/{name}"] for name, value in totals.items() if name[0] != "/"}
        return {
            **means,
            "ratio_max": largest,
            "lr": self.optimizer.param_groups[0]["lr"],
        }

    def _step(
        self, minibatch: Sequence[Row], samples: Sequence[Sample], old: dict[int, Tensor], progress: float
    ) -> Measured:
        """One optimizer step; what was measured, each with the number of things that it is a mean over."""
        config = self.config

        def accumulate(tokens: int) -> tuple[float, Measured]:
            self.optimizer.zero_grad()
            return self._accumulate(minibatch, tokens, samples, old)

        total, measured = self._budget.within(accumulate, minibatch, f"optimizer step {self.version + 1}")
        if not math.isfinite(total):
            raise NonFinite(f"the loss is {total} at optimizer step {self.version + 1}")
        length = torch.nn.utils.clip_grad_norm_(self._named.values(), config.max_grad_norm)
        norm = (length.full_tensor() if isinstance(length, DTensor) else length).item()
        if not math.isfinite(norm):
            raise NonFinite(f"the gradient norm is {norm} at optimizer step {self.version + 1}")
        share = rate_share(config, self.version + 1, progress)
        self.optimizer.param_groups[0]["lr"] = config.learning_rate * share
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.version += 1
        return [*measured, (1, {"loss": total, "grad_norm": norm})]

    def _accumulate(
        self, minibatch: Sequence[Row], tokens: int, samples: Sequence[Sample], old: dict[int, Tensor]
    ) -> tuple[float, Measured]:
        """The gradient of the minibatch's loss, in micro-batches of at most `tokens`; the loss and what was measured,
        over all processes."""
        pairs = [(sample.prompt_ids, sample.token_ids) for sample in samples]
        members = [member for row in minibatch for member in row.members]
        shares = token_weights([len(samples[member].token_ids) for member in members], self.config.loss)
        weight_of = dict(zip(members, shares, strict=True))
        nothing = dict.fromkeys(members, 0.0)
        measured: Measured = []
        total = 0.0
        for rows, counts in self._turns(minibatch, tokens):
            batch = self._assemble(rows, pairs)
            weights = weight_of if counts else nothing
            loss, metrics = micro_batch_loss(
                self._policy.scorer,
                self._policy.reference,
                batch,
                samples,
                weights,
                old,
                self.config,
                self.temperature,
            )
            if counts:
                total += loss.item()
                measured.append((sum(batch.lengths), metrics))
            if self.ranks.size > 1:  # FSDP averages over processes
                loss = loss * self.ranks.size
            loss.backward()
        if self.config.importance_cap is not None:
            self._everywhere(old)
        found = self.ranks.gather((total, measured))
        return sum(part for part, _ in found), [each for _, part in found for each in part]

    def _turns(self, rows: Sequence[Row], tokens: int) -> list[tuple[list[Row], bool]]:
        """This process's micro-batches, and whether each counts."""
        if self.ranks.size > 1:
            tokens = min(tokens, -(-sum(row.length for row in rows) // self.ranks.size))
        return self.ranks.share(microbatches_of(rows, tokens, packed=self.config.batching == "packed"))

    @torch.no_grad()
    def _each(
        self, rows: Sequence[Row], pairs: Sequence[Pair], compute: Callable[[MicroBatch], Tensor]
    ) -> dict[int, Tensor]:
        """Index of each pair in `rows` to what `compute` gives for its completion tokens, in all processes."""

        def work(tokens: int) -> dict[int, Tensor]:
            found: dict[int, Tensor] = {}
            for part, _ in self._turns(rows, tokens):
                batch = self._assemble(part, pairs)
                found.update(zip(batch.members, compute(batch).split(batch.lengths), strict=True))
            return found

        return self._everywhere(self._budget.within(work, rows, "scoring")) if rows else {}

    def _everywhere(self, found: dict[int, Tensor]) -> dict[int, Tensor]:
        """`found` with what the other processes found besides."""
        if self.ranks.size > 1:
            for others in self.ranks.gather({i: values.detach().cpu() for i, values in found.items()}):
                for i, values in others.items():
                    found.setdefault(i, values.to(self._policy.device))
        return found


def check(samples: Sequence[Sample]) -> None:
    """ValueError unless there are samples, each with tokens and one log-probability a token."""
    if not samples:
        raise ValueError("no samples to learn from")
    for index, sample in enumerate(samples):
        if not sample.token_ids or len(sample.token_ids) != len(sample.logprobs):
            found = f"{len(sample.token_ids)} tokens and {len(sample.logprobs)} log-probabilities"
            raise ValueError(f"sample {index} has {found}; it needs equally many, at least one")
