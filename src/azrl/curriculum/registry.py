"""Curricula by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from azrl.curriculum.adarft import AdaRft
from azrl.curriculum.base import Curriculum
from azrl.curriculum.dump import Dump
from azrl.curriculum.frontier import Frontier
from azrl.curriculum.learnability import Learnability
from azrl.curriculum.plr import Plr
from azrl.curriculum.proportional import Proportional
from azrl.curriculum.sec import Sec
from azrl.curriculum.staged import Staged
from azrl.curriculum.tscl import Tscl
from azrl.curriculum.uniform import Uniform
from azrl.curriculum.zrc import ZRC

ALGORITHMS: dict[str, type[Curriculum]] = {
    algorithm.name: algorithm
    for algorithm in (
        Uniform,
        Proportional,
        Staged,
        Dump,
        Sec,
        Learnability,
        Plr,
        Tscl,
        AdaRft,
        Frontier,
        ZRC,
    )
}


def build_curriculum(name: str, *, arms: Sequence[str], **options: Any) -> Curriculum:
    """The curriculum of this name over these arms; `options` are its constructor's. ValueError for a name or
    an option that does not exist, and for values that the algorithm refuses."""
    check_options(name, options)
    return ALGORITHMS[name](arms, **options)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """ValueError for a name that does not exist, an option that its constructor does not take, or one that it
    needs and does not get. Values are checked where the curriculum is built, when its arms are known."""
    if name not in ALGORITHMS:
        raise ValueError(f"unknown curriculum {name!r}{_hint(name, ALGORITHMS)}")
    parameters = {
        key: p for key, p in inspect.signature(ALGORITHMS[name]).parameters.items() if key != "arms"
    }
    for option in options:
        if option not in parameters:
            raise ValueError(f"curriculum {name!r} has no option {option!r}{_hint(str(option), parameters)}")
    needed = [key for key, p in parameters.items() if p.default is p.empty and key not in options]
    if needed:
        raise ValueError(f"curriculum {name!r} needs the option {', '.join(needed)}")


def _hint(word: str, choices: Iterable[str]) -> str:
    """Did-you-mean, or else what there is."""
    known = sorted(choices)
    close = difflib.get_close_matches(word.lower(), known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(known)}" if known else "; it has none"
