"""Which of what was earned can teach: DAPO's dynamic filtering and overlong handling, arXiv 2503.14476.

Dynamic filtering: a task whose attempts all earned the same compares with nothing. Under a group baseline its
advantages are 0 and only thin out the mean; under a cell baseline they say how hard the task is, not which answer
is better. Such tasks are left out of the update, and the batch may be filled up with others (`refill`), so that
every update sees about as many that teach. Only the solver's groups are filtered: a proposer's are of one arm, not
of one prompt. Attempts that are all wrong, but some of them malformed, differ in reward and are kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from azrl.config.schema import Overlong, Selfplay
from azrl.selfplay.credit import SOLVER, Earned, solver_earnings
from azrl.selfplay.solver import Group
from azrl.tasks.types import Task


def punishment(length: int, limit: int, overlong: Overlong) -> float:
    """What a completion of `length` tokens loses, at most `limit` long: DAPO, Eq. 13. With a cache of
    `share` x limit tokens at the end, nothing up to the cache, then linearly more, `penalty` at the limit."""
    cache = overlong.share * limit
    beyond = length - (limit - cache)
    return overlong.penalty * min(1.0, beyond / cache) if cache and beyond > 0 else 0.0


def punished(earned: Sequence[Earned], limit: int, overlong: Overlong) -> list[Earned]:
    """`earned` less the punishment of long completions of either role; with `share` 0 as it is."""
    if not overlong.share:
        return list(earned)
    return [
        replace(e, reward=e.reward - punishment(len(e.completion.token_ids), limit, overlong)) for e in earned
    ]


def telling(earned: Sequence[Earned]) -> list[Earned]:
    """`earned` without the solver's groups in which all earned the same, groups of one among them."""
    rewards: defaultdict[tuple[str, str], set[float]] = defaultdict(set)
    for e in earned:
        rewards[e.cell[1], e.group].add(e.reward)
    return [e for e in earned if e.cell[1] != SOLVER or len(rewards[e.cell[1], e.group]) > 1]


def cut_off(earned: Earned) -> bool:
    """Whether the completion met its limit before its end: what DAPO's overlong filtering leaves out of the loss."""
    return earned.completion.finish == "length"


def refill(
    groups: Sequence[Group],
    draw: Callable[[int, int], Sequence[Task]],
    attempt: Callable[[Sequence[Task], int], list[Group]],
    settings: Selfplay,
    limit: int,
    others: Sequence[Group] = (),
) -> list[Group]:
    """More groups, until as many tell something as there were in `groups` at first, no task is left, or
    `refill_rounds` are over. Round k attempts what `draw(missing, k)` gives, less the tasks that were attempted
    already, in `others` too; `limit` is the longest completion, in tokens."""
    found: list[Group] = []
    for number in range(settings.refill_rounds):
        sofar = [*groups, *found]
        earned = punished(solver_earnings(sofar, settings), limit, settings.overlong)
        missing = len(groups) - len({e.group for e in telling(earned)})
        seen = {group.task.id for group in (*others, *sofar)}
        tasks = [task for task in draw(missing, number) if task.id not in seen] if missing > 0 else []
        if not tasks:
            break
        found += attempt(tasks, number)
    return found
