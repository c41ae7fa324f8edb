"""What a task is: a program, its inputs and outputs, and which of the three is asked for.

Absolute Zero (arXiv 2505.03335, section 3.2) names three ways to reason about `output = program(input)`.
All texts are Python source or canonical literals; nothing here is ever evaluated.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """The missing part: the input (abduction), the output (deduction) or the program (induction)."""

    ABDUCTION = "abduction"
    DEDUCTION = "deduction"
    INDUCTION = "induction"


KINDS: tuple[Kind, ...] = tuple(Kind)


@dataclass(frozen=True, slots=True)
class Spec:
    """What the proposer is asked for: a kind and a difficulty bin (1 = one top-level statement)."""

    kind: Kind
    bin: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A proposal that parsed: a program and call-argument texts, not yet run."""

    kind: Kind
    program: str
    inputs: tuple[str, ...]
    message: str = ""
    bin: int = 0
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """A proven task. `inputs[i]` are call arguments such as `[1, 2], 'a'`; `outputs[i]` canonical literals.

    Abduction and deduction hold exactly one pair. Induction holds several; the first `shown` are
    given to the solver and the rest judge it. `bin` counts the program's top-level statements.
    """

    kind: Kind
    program: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    message: str = ""
    shown: int = 0
    bin: int = 0
    parents: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """16 hex digits that depend on what is asked, not on where it came from."""
        parts = (self.kind.value, self.program, *self.inputs, str(self.shown), self.message)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict that `from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Task:
        """Read `to_json` back; KeyError or ValueError names what is missing or wrong."""
        return cls(
            kind=Kind(data["kind"]),
            program=data["program"],
            inputs=tuple(data["inputs"]),
            outputs=tuple(data["outputs"]),
            message=data.get("message", ""),
            shown=data.get("shown", 0),
            bin=data.get("bin", 0),
            parents=tuple(data.get("parents", ())),
        )
