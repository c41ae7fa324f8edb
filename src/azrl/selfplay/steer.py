"""Steering the proposer to the frontier: the most for a task of the size asked for, solved as often as asked for.

The idea is a tent over the solve rate with its top at a target, times a share that falls with every statement that
the program has more or fewer than its spec. Absolute Zero's 1 - p (arXiv 2505.03335, equation 4) pulls to the
hardest task that is ever solved; here the top is where a group of rollouts says most, or wherever it is wanted.
"""

from __future__ import annotations


def frontier(solved: int, attempts: int, *, target: float, off: int, keep: float) -> float:
    """What an admitted task earns that `solved` of `attempts` rollouts solved, in [0, 1], no unit.

        c(p) = 1 - |p - target| / d,   d = target where p <= target, else 1 - target
        reward = c(p) * keep^off

    `target` is the solve rate asked for, in (0, 1), and d the distance from it to the end of [0, 1] on the side of p:
    so c is 1 at the target and 0 at p = 0 and p = 1, whatever the target. `off` is the number of top-level
    statements between the program's and its spec's, either way; `keep` in [0, 1] is the share of the reward that each
    leaves: 1 takes no notice of the spec, 0 pays for a met spec alone (0^0 is 1).

    Degenerate: p of n rollouts has the standard deviation sqrt(p(1 - p) / n), 0.18 at n = 8 and p = 1/2, so a target
    closer than 1 / n to an end is hardly ever hit. With target 1/2 c is 1 - |2p - 1|. A task that no rollout or
    every rollout solved earns 0 here; the caller may price that otherwise (`boundary_reward`).
    """
    if not 0.0 < target < 1.0 or not 0.0 <= keep <= 1.0 or not 0 <= solved <= attempts or off < 0:
        raise ValueError(
            "want a target in (0, 1), keep in [0, 1], solved of attempts and off at least 0, got"
            f" target={target}, keep={keep}, solved={solved}, attempts={attempts}, off={off}"
        )
    if solved in (0, attempts):
        return 0.0
    p = solved / attempts
    distance = target if p <= target else 1.0 - target
    return (1.0 - abs(p - target) / distance) * keep**off
