"""What a prompt template must be able to do; one file a template beside this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from azrl.tasks.types import Draft, Kind, Spec, Task


class Malformed(ValueError):
    """A completion that does not parse. `reason` is a short code for metrics, such as `no_answer`."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Template(Protocol):
    """Writes prompts for both roles and reads what comes back."""

    name: str

    def propose(self, spec: Spec | None, kind: Kind, references: Sequence[Task]) -> str:
        """Ask for a new task of `kind`. `spec` None asks for no difficulty. Abduction and deduction show the
        references; induction shows one program, `references[0]`, and asks for inputs and a message."""
        ...

    def parse_proposal(self, spec: Spec | None, kind: Kind, references: Sequence[Task], text: str) -> Draft:
        """Read a proposal; raises Malformed."""
        ...

    def solve(self, task: Task) -> str:
        """Ask for the missing part of a task."""
        ...

    def parse_answer(self, kind: Kind, text: str) -> str:
        """Call-argument text (abduction), literal text (deduction) or program (induction); raises Malformed."""
        ...
