"""Pictures of where each curriculum fails: its learning curve, and the share that it gave each arm."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from worlds.catalogue import HELD_OUT, make
from worlds.play import oracle, play

FAILURES = {
    "uniform": ("chain", "uniform"),
    "staged": ("chain", "by mastery"),
    "dump": ("noisy", "dump (code)"),
    "sec": ("noisy", "sec (code, tau 0.2)"),
    "learnability": ("noisy, half", "learnability, Thompson"),
    "plr": ("noisy", "plr"),
    "tscl": ("small batch", "tscl"),
    "adarft": ("impossible", "adarft"),
    "frontier": ("many arms", "frontier"),
}
"""File name to world and contender."""


def draw_all(folder: Path, seeds: int) -> None:
    """One PNG an algorithm."""
    worlds = {world.name: world for world in HELD_OUT}
    folder.mkdir(parents=True, exist_ok=True)
    for name, (place, contender) in FAILURES.items():
        world = worlds[place]
        figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.6), dpi=80, width_ratios=(1, 1.1))
        curves = {
            "oracle": oracle(world, seeds),
            "uniform": play(world, lambda w: make("uniform", w), seeds),
            contender: play(world, lambda w, contender=contender: make(contender, w), seeds),
        }
        for label, (curve, _) in curves.items():
            left.plot(curve.mean(axis=0), label=label, linewidth=2 if label == contender else 1)
        left.set(xlabel="step", ylabel="mean solve rate", title=f"world: {place}")
        left.legend(fontsize=7, frameon=False)
        image = right.imshow(curves[contender][1].T, aspect="auto", origin="lower", cmap="magma", vmin=0)
        dead = {**dict.fromkeys(world.coins, "coin"), **dict.fromkeys(world.impossible, "impossible")}
        if dead:
            right.set_yticks(list(dead), [f"{k} ({why})" for k, why in dead.items()], fontsize=6)
        right.set(xlabel="step", ylabel="arm", title=f"share of each arm: {contender}")
        figure.colorbar(image)
        figure.tight_layout()
        figure.savefig(folder / f"{name}.png")
        plt.close(figure)
