"""The learner: AdamW on the PPO-clip loss over a transformers module, float32 weights, any device.

One `update` is `ppo_epochs` x `minibatches` optimizer steps. Micro-batches only bound memory: each token's
weight in the loss is fixed for the whole minibatch first. The old policy of the PPO ratio is the trainer's
own at the start of the update, and what separates it from the sampler (another precision, another kernel)
is corrected by a capped importance weight; with `importance_cap` null the sampler's log-probabilities are
the old policy themselves.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from azrl.config.schema import Training
from azrl.errors import UserError
from azrl.rl.batching import Row, assemble, microbatches_of, minibatches_of, rows_of
from azrl.rl.losses import token_weights
from azrl.rl.objective import micro_batch_loss
from azrl.rl.scoring import score_rows
from azrl.rl.storage import Tensors, check_shapes, read_state, write_batch, write_state
from azrl.rl.types import Sample

WEIGHTS, OPTIMIZER, REFERENCE = "model.safetensors", "optimizer.safetensors", "reference.safetensors"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class NonFinite(UserError):
    """A loss, gradient or input was NaN or infinite. No step was taken on it; the message says where the
    batch was saved."""


class TorchLearner:
    """Trains `model` (taken over and made float32) by `config`; matrices multiply in `dtype`.

    A non-finite batch is written into `on_failure`, if given. Dropout is off. Not thread-safe."""

    def __init__(
        self,
        model: PreTrainedModel,
        config: Training,
        *,
        pad_id: int,
        dtype: torch.dtype = torch.float32,
        on_failure: Path | None = None,
    ) -> None:
        self.model = model.float().eval().requires_grad_(True)
        self.config = config
        self.pad_id = pad_id
        self.dtype = dtype
        self.on_failure = on_failure
        self.version = 0
        self.reference = copy.deepcopy(self.model).requires_grad_(False) if config.use_kl else None
        self._named = dict(self.model.named_parameters())
        self.optimizer = torch.optim.AdamW(
            self._named.values(),
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )

    def update(self, samples: Sequence[Sample], *, seed: int, progress: float = 0.0) -> dict[str, float]:
        """Train on `samples`; which go together is a function of `seed` alone. `progress` is the share of the run
        that is over, 0 to 1: what a schedule goes by.

        Metrics: `loss`, `grad_norm` (before clipping; both means over steps), `lr` (of the last step) and, per
        completion token, `entropy_exact` (nats, of the whole distribution), `kl` (k3, old against new policy),
        `clip_fraction`, `ratio_mean`, `ratio_max`, `mismatch_kl` (k3, sampler against trainer),
        `importance_mean` when there is a cap and `kl_reference` when there is a reference.
        ValueError: no samples, an empty one, or log-probabilities that do not match its tokens. NonFinite:
        see there; steps already taken in this update stand."""
        _check(samples)
        try:
            if not all(np.isfinite((sample.advantage, *sample.logprobs)).all() for sample in samples):
                raise NonFinite("a sampler log-probability or an advantage is not finite")
            return self._update(samples, seed, progress)
        except NonFinite as error:
            self.optimizer.zero_grad()
            if self.on_failure is None:
                raise
            path = self.on_failure / f"nonfinite-{self.version}.json"
            write_batch(path, samples, {"reason": str(error), "version": self.version, "seed": seed})
            raise NonFinite(f"{error}; the batch was saved to {path}") from error

    def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Log-probabilities (nats, temperature 1) of each completion's tokens, as `Engine.score`."""
        scores = self._score(rows_of(sequences), sequences)
        return [scores[i].tolist() if i in scores else [] for i in range(len(sequences))]

    def weights(self) -> Mapping[str, Tensor]:
        """Live float32 parameters, detached, by transformers name; a tied head appears once, as embedding."""
        return {name: parameter.detach() for name, parameter in self._named.items()}

    def save(self, folder: Path) -> None:
        """Write a transformers checkpoint (model.safetensors, config.json) with optimizer and counters beside
        it; OSError when the disk refuses."""
        tensors = {WEIGHTS: dict(self.weights()), OPTIMIZER: self._moments()}
        if self.reference is not None:
            tensors[REFERENCE] = {n: p.detach() for n, p in self.reference.named_parameters()}
        folder.mkdir(parents=True, exist_ok=True)
        self.model.config.save_pretrained(folder)
        write_state(folder, tensors, {"version": self.version})

    def load(self, folder: Path) -> None:
        """Go on bit for bit from what `save` wrote. ValueError, and nothing changed, when the folder is not
        one of ours, is damaged or belongs to another model."""
        reference = {} if self.reference is None else dict(self.reference.named_parameters())
        tensors, meta = read_state(folder, (WEIGHTS, OPTIMIZER, *([REFERENCE] if reference else [])))
        check_shapes(WEIGHTS, tensors[WEIGHTS], self._named)
        moments = tensors[OPTIMIZER]
        if moments:
            shapes = {f"{n}.{part}": p for n, p in self._named.items() for part in MOMENTS}
            steps = {name: torch.tensor(0.0) for name in shapes if name.endswith(".step")}
            check_shapes(OPTIMIZER, moments, {**shapes, **steps})
        version = meta.get("version")
        if not isinstance(version, int):
            raise ValueError(f"{folder} holds no learner: the version is missing")
        if reference:
            check_shapes(REFERENCE, tensors[REFERENCE], reference)
            _copy(tensors[REFERENCE], reference)
        _copy(tensors[WEIGHTS], self._named)
        self.optimizer.state.clear()
        for name, parameter in self._named.items() if moments else ():
            device = parameter.device
            self.optimizer.state[parameter] = {part: moments[f"{name}.{part}"].to(device) for part in MOMENTS}
        self.version = version

    def _update(self, samples: Sequence[Sample], seed: int, progress: float) -> dict[str, float]:
        config, pairs = self.config, [(sample.prompt_ids, sample.token_ids) for sample in samples]
        rows = rows_of(pairs)
        rng = np.random.default_rng(seed)
        steps = [
            part for _ in range(config.ppo_epochs) for part in minibatches_of(rows, config.minibatches, rng)
        ]
        if config.importance_cap is None:
            old = {i: torch.tensor(s.logprobs, device=self.model.device) for i, s in enumerate(samples)}
        else:
            # The first step's own forward pass gives the old policy of its rows; the rest is scored before.
            first = set(steps[0])
            old = self._score([row for row in rows if row not in first], pairs)
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
    ) -> list[tuple[int, dict[str, float]]]:
        """One optimizer step; what was measured, each with the number of things that it is a mean over."""
        config = self.config
        pairs = [(sample.prompt_ids, sample.token_ids) for sample in samples]
        members = [member for row in minibatch for member in row.members]
        shares = token_weights([len(samples[member].token_ids) for member in members], config.loss)
        weight_of = dict(zip(members, shares, strict=True))
        measured: list[tuple[int, dict[str, float]]] = []
        total = 0.0
        for rows in microbatches_of(minibatch, config.micro_batch_tokens):
            batch = assemble(rows, pairs, self.pad_id, self.model.device)
            loss, metrics = micro_batch_loss(
                self.model, self.reference, batch, samples, weight_of, old, config, self.dtype
            )
            total += loss.item()
            if not math.isfinite(total):
                raise NonFinite(f"the loss is {total} at optimizer step {self.version + 1}")
            loss.backward()
            measured.append((sum(batch.lengths), metrics))
        norm = torch.nn.utils.clip_grad_norm_(self._named.values(), config.max_grad_norm).item()
        if not math.isfinite(norm):
            raise NonFinite(f"the gradient norm is {norm} at optimizer step {self.version + 1}")
        self.optimizer.param_groups[0]["lr"] = config.learning_rate * _share(
            config, self.version + 1, progress
        )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.version += 1
        return [*measured, (1, {"loss": total, "grad_norm": norm})]

    def _score(
        self, rows: Sequence[Row], pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> dict[int, Tensor]:
        tokens = self.config.micro_batch_tokens
        return score_rows(self.model, rows, pairs, tokens=tokens, pad_id=self.pad_id, dtype=self.dtype)

    def _moments(self) -> Tensors:
        """AdamW's state by parameter name, empty before the first step."""
        state = self.optimizer.state
        return {
            f"{n}.{part}": state[p][part] for n, p in self._named.items() if p in state for part in MOMENTS
        }


def _share(config: Training, step: int, progress: float) -> float:
    """What part of the learning rate optimizer step `step`, counted from 1, takes."""
    warm = min(1.0, step / max(config.warmup_steps, 1))
    return warm * max(0.0, 1.0 - progress) if config.lr_schedule == "linear" else warm


def _check(samples: Sequence[Sample]) -> None:
    if not samples:
        raise ValueError("no samples to learn from")
    for index, sample in enumerate(samples):
        if not sample.token_ids or len(sample.token_ids) != len(sample.logprobs):
            found = f"{len(sample.token_ids)} tokens and {len(sample.logprobs)} log-probabilities"
            raise ValueError(f"sample {index} has {found}; it needs equally many, at least one")


@torch.no_grad()
def _copy(found: Tensors, into: Mapping[str, Tensor]) -> None:
    for name, parameter in into.items():
        parameter.copy_(found[name])
