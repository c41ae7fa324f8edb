"""What is wrong with a configuration, all at once: one line a problem."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

from azrl.errors import UserError


class ConfigError(UserError):
    """Every problem that was found, in the order of the sources: `file:line: dotted.key: what is wrong`."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def show(value: Any) -> str:
    """A value as a message shows it: YAML's words for true, false and null, quoted text, never long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _SHORT.repr(value)


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that `word` was probably meant to be, letter case aside, or None.

    `cutoff` is the least likeness, from 0 to 1 (difflib's ratio).
    """
    by_fold = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=cutoff)
    return by_fold[near[0]] if near else None
