"""The compact template: a few marker words a prompt, for tiny models that read every character.

Deduction ends with `out `, abduction with `in `, induction with `new`; the completion is the answer. For abduction and
deduction its last line is; the lines before it are working, which a model is free to write: the shipped one writes
what each operation gives before it says what a program returns. A spec's difficulty is a tally (`|||` asks for three
statements), so that longer programs extend a pattern that the model has seen instead of naming a new number.
"""

from __future__ import annotations

from collections.abc import Sequence

from azrl.tasks.prompts.base import Malformed
from azrl.tasks.types import Draft, Kind, Spec, Task


class Compact:
    """Marker lines: `deduce`, `abduce`, `induce`, `propose`; fields: `in`, `out`, `ref`, `new`."""

    name = "compact"

    def propose(self, spec: Spec | None, kind: Kind, references: Sequence[Task]) -> str:
        """`propose <kind> <tally>`, the references, then `new` (or the program and `in ` for induction)."""
        head = f"propose {kind.value} {'|' * spec.bin if spec else ''}\n"
        if kind is Kind.INDUCTION:
            return f"{head}{references[0].program}\nin "
        blocks = "".join(f"ref\n{task.program}\nin {task.inputs[0]}\n" for task in references)
        return f"{head}{blocks}new\n"

    def parse_proposal(self, spec: Spec | None, kind: Kind, references: Sequence[Task], text: str) -> Draft:
        """A program and its input after the last `in `; for induction the inputs alone."""
        wanted = spec.bin if spec else 0
        parents = tuple(task.id for task in references)
        if kind is Kind.INDUCTION:
            inputs = tuple(line.strip() for line in text.split("\nin "))
            return Draft(kind, references[0].program, inputs, bin=wanted, parents=parents[:1])
        program, marker, argument = text.rpartition("\nin ")
        if not marker or not argument.strip() or "\n" in argument.strip():
            raise Malformed("no_input")
        if not program.startswith("def f("):
            raise Malformed("no_program")
        return Draft(kind, program, (argument.strip(),), bin=wanted, parents=parents)

    def solve(self, task: Task) -> str:
        """The task with the missing part left open."""
        if task.kind is Kind.DEDUCTION:
            return f"deduce\n{task.program}\nin {task.inputs[0]}\nout "
        if task.kind is Kind.ABDUCTION:
            return f"abduce\n{task.program}\nout {task.outputs[0]}\nin "
        pairs = zip(task.inputs[: task.shown], task.outputs[: task.shown], strict=True)
        note = f"note {' '.join(task.message.split())}\n" if task.message else ""
        return f"induce\n{note}" + "".join(f"in {i}\nout {o}\n" for i, o in pairs) + "new\n"

    def parse_answer(self, kind: Kind, text: str) -> str:
        """The last line; for induction the whole text, Malformed when it defines no `f`. Empty text is Malformed."""
        answer = text.strip()
        if not answer:
            raise Malformed("empty")
        if kind is not Kind.INDUCTION:
            return answer.rpartition("\n")[2]
        if not answer.startswith("def f("):
            raise Malformed("no_program")
        return answer
