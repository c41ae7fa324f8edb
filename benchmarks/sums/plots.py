"""Learning curves of all contenders, and whom each of some practised when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from sums.contest import EVERY, THRESHOLD
from sums.problems import CHAIN

_SHOWN = ("uniform", "frontier", "dump")


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """One PNG of the chain: the mean over seeds of the held-out accuracy, where a run that has ended keeps its last
    value, and for three contenders the shares of the arms on the first seed."""
    chain = [run for run in runs if run["place"] == "chain"]
    figure, axes = plt.subplots(1, 1 + len(_SHOWN), figsize=(13, 3), dpi=80, width_ratios=(2, 1, 1, 1))
    for name in dict.fromkeys(run["contender"] for run in chain):
        curves = [np.mean(run["accuracy"], axis=1) for run in chain if run["contender"] == name]
        longest = max(map(len, curves))
        mean = np.mean([np.pad(c, (0, longest - len(c)), mode="edge") for c in curves], axis=0)
        wide = 2.0 if name in _SHOWN else 0.9
        axes[0].plot(EVERY * np.arange(longest), mean, label=name, linewidth=wide)
    axes[0].axhline(THRESHOLD, color="grey", linewidth=0.6, linestyle=":")
    axes[0].set(xlabel="step (512 rollouts)", ylabel="held-out accuracy", title="sums of 2, 4 and 6 digits")
    axes[0].legend(fontsize=6, frameon=False)
    for axis, name in zip(axes[1:], _SHOWN, strict=True):
        run = next(run for run in chain if run["contender"] == name)
        shares = np.array(run["shares"]).T
        axis.imshow(
            shares,
            aspect="auto",
            origin="lower",
            cmap="magma",
            vmin=0,
            vmax=1,
            extent=(0, run["steps"], -0.5, len(shares) - 0.5),
        )
        axis.set(title=f"shares: {name}", xlabel="step", yticks=range(len(CHAIN.arms)))
        axis.set_yticklabels([arm.removeprefix("chain ") for arm in CHAIN.arms], fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
