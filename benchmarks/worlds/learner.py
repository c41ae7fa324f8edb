"""A simulated learner: a skill (logit) for each arm, moved by what is practised. Many seeds at once.

An item of arm k at skill s is solved with probability sigma(s + spread * xi), xi standard normal for each item. A
group of G rollouts with a share c solved teaches sqrt(c (1 - c)), the size of the gradient under std-normalised
GRPO: nothing when all or none succeed. It moves every skill j by rate * teaching * reach[j, k] / groups. Coin arms
pay 1 with a fixed chance and teach nothing; impossible arms never pay. Skills fall back towards their start by
`forgetting` a step, and `drift` is the standard deviation of a random walk that they do besides.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """One set of dynamics. `start` gives the skill of each arm at first, from arm 0 to the last; `reach` how far,
    in arms, practice carries to neighbours (0: not at all); `cost` the tokens of a group of each arm. A step has
    `groups` times the mean cost to spend. Coin and impossible arms are not part of what is measured."""

    name: str
    start: tuple[float, ...]
    reach: float = 1.5
    rate: float = 1.0
    spread: float = 0.7
    steps: int = 200
    groups: int = 64
    rollouts: int = 8
    coins: tuple[int, ...] = ()
    coin: float = 0.5
    impossible: tuple[int, ...] = ()
    forgetting: float = 0.0
    drift: float = 0.0
    cost: tuple[float, ...] = ()
    measured: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        dead = {*self.coins, *self.impossible}
        object.__setattr__(self, "measured", tuple(k for k in range(len(self.start)) if k not in dead))
        object.__setattr__(self, "cost", self.cost or (1.0,) * len(self.start))

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(f"arm{k:03d}" for k in range(len(self.start)))

    def transfer(self) -> Array:
        """[j, k]: what a unit of teaching in arm k moves skill j. Nothing is taught by dead arms."""
        place = np.arange(len(self.start))
        distance = np.abs(place[:, None] - place)
        matrix = np.exp(-distance / self.reach) if self.reach else np.eye(len(place))
        matrix[:, [*self.coins, *self.impossible]] = 0.0
        return matrix


class Learner:
    """`seeds` independent learners in one world; `skill` is [seeds, arms]."""

    def __init__(self, world: World, seeds: int) -> None:
        self.world = world
        self.start = np.tile(np.array(world.start, dtype=np.float64), (seeds, 1))
        self.skill = self.start.copy()
        self.matrix = world.transfer()
        self._weather = np.random.default_rng([1, seeds])

    def success(self) -> Array:
        """Mean solve rate over the measured arms, exact, for each seed."""
        return table(self.world).success(self.skill[:, self.world.measured]).mean(axis=1)

    def practise(self, seed: NDArray[np.int64], arm: NDArray[np.int64], rng: np.random.Generator) -> Array:
        """Groups of rollouts on (seed, arm) pairs, as rewards [pairs, rollouts]; the skills move."""
        world = self.world
        logit = self.skill[seed, arm] + world.spread * rng.standard_normal(len(arm))
        chance = 1.0 / (1.0 + np.exp(-logit))
        chance[np.isin(arm, world.coins)] = world.coin
        chance[np.isin(arm, world.impossible)] = 0.0
        rewards = (rng.random((len(arm), world.rollouts)) < chance[:, None]).astype(np.float64)
        solved = rewards.mean(axis=1)
        taught = np.zeros_like(self.skill)
        np.add.at(taught, (seed, arm), np.sqrt(solved * (1.0 - solved)))
        self.move(taught)
        return rewards

    def move(self, taught: Array) -> None:
        """One step's change of the skills by what was taught in each arm."""
        world = self.world
        self.skill += world.rate * taught @ self.matrix.T / world.groups
        self.skill -= world.forgetting * (self.skill - self.start)
        if world.drift:
            self.skill += world.drift * self._weather.standard_normal(self.skill.shape)


@dataclass(frozen=True)
class Table:
    """Expected success, its slope, and expected teaching of one group, on a grid of skills."""

    grid: Array
    rate: Array
    taught: Array

    def success(self, skill: Array) -> Array:
        return np.interp(skill, self.grid, self.rate)

    def slope(self, skill: Array) -> Array:
        return np.interp(skill, self.grid, np.gradient(self.rate, self.grid))

    def teaching(self, skill: Array) -> Array:
        return np.interp(skill, self.grid, self.taught)


_TABLES: dict[tuple[float, int], Table] = {}


def table(world: World) -> Table:
    """Exact expectations by quadrature over items and the binomial distribution over rollouts."""
    key = (world.spread, world.rollouts)
    if key not in _TABLES:
        grid = np.linspace(-20.0, 20.0, 1601)
        nodes, weights = hermegauss(41)
        p = 1.0 / (1.0 + np.exp(-(grid[:, None] + world.spread * nodes)))
        weights = weights / weights.sum()
        taught = np.zeros_like(grid)
        choose = 1.0
        for k in range(world.rollouts + 1):
            share = k / world.rollouts
            taught += (
                np.sqrt(share * (1.0 - share)) * choose * (p**k * (1 - p) ** (world.rollouts - k) @ weights)
            )
            choose = choose * (world.rollouts - k) / (k + 1)
        _TABLES[key] = Table(grid, p @ weights, taught)
    return _TABLES[key]
