"""What proposer and solver earn. Absolute Zero, arXiv 2505.03335, equations 4 to 6; differences are settings."""

from __future__ import annotations

from azrl.config.schema import FormatPenalty, Selfplay
from azrl.selfplay.steer import frontier


def solver_reward(correct: bool, well_formed: bool, penalty: FormatPenalty) -> float:
    """+1 right, `formatted_wrong` (-0.5) wrong but well formed, `format_error` (-1) malformed."""
    if not well_formed:
        return penalty.format_error
    return 1.0 if correct else penalty.formatted_wrong


def learnability(solved: int, attempts: int, settings: Selfplay, off: int = 0) -> float:
    """The proposer's reward for an admitted task that `solved` of `attempts` rollouts solved, and whose program is
    `off` statements from its spec.

    With p = solved / attempts: 1 - p (`one_minus`), 4p(1 - p) (`variance`) or `steer.frontier` when 0 < p < 1, else
    `boundary_reward`: 0 in the paper, -0.5 in AZR's code.
    """
    if not 0 < solved < attempts:
        return settings.boundary_reward
    if settings.proposer_reward == "frontier":
        target, keep = settings.target_solve_rate, settings.spec_keep
        return frontier(solved, attempts, target=target, off=off, keep=keep)
    p = solved / attempts
    return 1.0 - p if settings.proposer_reward == "one_minus" else 4.0 * p * (1.0 - p)


def proposer_reward(
    solved: int, attempts: int, *, off: int, times_seen: int, novelty_weight: float, settings: Selfplay
) -> float:
    """Learnability, discounted for programs proposed before, plus or minus the bonus for meeting the spec, from
    which the program is `off` statements away."""
    base = learnability(solved, attempts, settings, off)
    if base > 0:
        base /= 1.0 + novelty_weight * times_seen
    return base + (settings.spec_bonus if off == 0 else -settings.spec_bonus)
