"""Where a task lies: what its text is about, and how hard it is, as one vector for clustering."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.zrc import saved

Floats = NDArray[np.float64]
Vector = Sequence[float] | NDArray[Any]
Vectors = Sequence[Vector] | NDArray[Any]

_SMALLEST_SPREAD = 0.1  # difficulties that spread less are not blown up to count as much as meaning


def mean_token_embedding(
    tokenize: Callable[[str], Sequence[int]], token_vectors: NDArray[Any]
) -> Callable[[str], Floats]:
    """An embedder from the policy's own input embeddings: the mean of the vectors of a text's tokens.

    `token_vectors` is float[vocabulary, D], the embedding matrix at the start; it is copied, for vectors must not
    move while tasks are added. A text of no tokens is a ValueError."""
    table = np.array(token_vectors)

    def embed(text: str) -> Floats:
        tokens = list(tokenize(text))
        if not tokens:
            raise ValueError(f"cannot embed a text that has no tokens: {text!r}")
        return np.asarray(table[tokens].mean(axis=0, dtype=np.float64))

    return embed


class Projection:
    """Unit-length embeddings reduced to their principal components, scaled to a total variance of 1.

    Fitted on the first tasks and kept: later tasks fall into the same space. Fit it on a batch that is typical;
    directions absent from it are invisible."""

    def __init__(self) -> None:
        self.centre: Floats | None = None
        self.axes: Floats = np.zeros((0, 0))

    def fit(self, embeddings: Floats, dimensions: int) -> None:
        """From float64[N, D], not all pointing the same way. Signs of the axes are fixed so that equal data give
        equal axes."""
        unit = _unit(embeddings)
        if np.abs(unit - unit[0]).max() < 1e-9:
            raise ValueError(
                "the first embeddings all point the same way; register tasks that differ, or none with embeddings"
            )
        centre = unit.mean(axis=0)
        _, singular, axes = np.linalg.svd(unit - centre, full_matrices=False)
        axes = axes[: min(dimensions, len(axes))]
        axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
        spread = float(np.sqrt((singular[:dimensions] ** 2).sum() / len(unit)))
        self.centre, self.axes = centre, axes / spread

    def __call__(self, embeddings: Floats) -> Floats:
        """float64[N, Q] of float64[N, D]; Q = 0 before a fit."""
        if self.centre is None:
            return np.zeros((len(embeddings), 0))
        return np.asarray((_unit(embeddings) - self.centre) @ self.axes.T)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs; JSON-able."""
        return {"centre": None if self.centre is None else self.centre.tolist(), "axes": self.axes.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the fit; KeyError, TypeError or ValueError on anything that `state_dict` does not give."""
        if state["centre"] is None:
            self.centre, self.axes = None, np.zeros((0, 0))
            return
        centre, axes = (saved.floats(key, state[key]) for key in ("centre", "axes"))
        if axes.ndim != 2 or axes.shape[1:] != centre.shape:
            raise ValueError(f"axes {axes.shape} do not fit a centre {centre.shape}")
        self.centre, self.axes = centre, axes


def checked_embeddings(vectors: Any, tasks: Sequence[str], length: int | None) -> Floats:
    """float64[N, D] of what was given as vectors; ValueError naming the task when one is not finite, all zero
    or of another length than the vectors known so far."""
    rows = [np.asarray(vector, dtype=np.float64).reshape(-1) for vector in vectors]
    if len(rows) != len(tasks):
        raise ValueError(f"{len(tasks)} tasks were given with {len(rows)} embeddings")
    for task, row in zip(tasks, rows, strict=True):
        expected = length if length is not None else len(rows[0])
        if len(row) != expected:
            raise ValueError(f"the embedding of task {task!r} has {len(row)} numbers instead of {expected}")
        if not np.isfinite(row).all():
            raise ValueError(f"the embedding of task {task!r} is not finite; embed it again or leave it out")
        if not row.any():
            raise ValueError(f"the embedding of task {task!r} is all zeros and points nowhere")
    return np.array(rows)


def features(meaning: Floats, difficulty: Floats, weight: float, centre: float, spread: float) -> Floats:
    """[sqrt(1 - w) meaning, sqrt(w) z], float64[N, Q + 1], with z the difficulty in units of `spread` from
    `centre`; of difficulty alone, w = 1, when there is no meaning (Q = 0)."""
    weight = weight if meaning.shape[1] else 1.0
    z = (difficulty - centre) / spread
    return np.concatenate([np.sqrt(1.0 - weight) * meaning, np.sqrt(weight) * z[:, None]], axis=1)


def spread_of(difficulty: Floats) -> tuple[float, float]:
    """The centre and spread that `features` scales difficulties by."""
    return float(difficulty.mean()), max(float(difficulty.std()), _SMALLEST_SPREAD)


def _unit(embeddings: Floats) -> Floats:
    return np.asarray(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
