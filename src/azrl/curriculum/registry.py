"""Curricula by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from azrl.curriculum.base import Curriculum
from azrl.curriculum.uniform import Uniform
from azrl.curriculum.zrc import ZRC

ALGORITHMS: dict[str, type[Curriculum]] = {algorithm.name: algorithm for algorithm in (Uniform, ZRC)}


def build_curriculum(name: str, *, arms: Sequence[str], **options: Any) -> Curriculum:
    """The curriculum of this name over these arms; `options` are its constructor's. ValueError for a name or
    an option that does not exist, and for values that the algorithm refuses."""
    if name not in ALGORITHMS:
        raise ValueError(f"unknown curriculum {name!r}{_hint(name, ALGORITHMS)}")
    algorithm = ALGORITHMS[name]
    allowed = [option for option in inspect.signature(algorithm).parameters if option != "arms"]
    for option in options:
        if option not in allowed:
            raise ValueError(f"curriculum {name!r} has no option {option!r}{_hint(option, allowed)}")
    return algorithm(arms, **options)


def _hint(word: str, choices: Iterable[str]) -> str:
    """Did-you-mean, or else what there is."""
    known = sorted(choices)
    close = difflib.get_close_matches(word.lower(), known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(known)}" if known else "; it has none"
