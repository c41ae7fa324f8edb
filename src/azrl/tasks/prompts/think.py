"""The <think>/<answer> template for language models, base models without a chat format included.

The prompt ends inside an open <think>, as in DeepSeek-R1-Zero (arXiv 2501.12948) and Absolute Zero; the
completion closes it and gives its result in fenced blocks between <answer> and </answer>. Wording: ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from azrl.tasks.prompts.base import Malformed
from azrl.tasks.types import Draft, Kind, Spec, Task

_FRAME = """\
A user sets a task and an assistant solves it. The assistant thinks step by step between <think> and \
</think>, then gives nothing but the result between <answer> and </answer>.
User: {task}
Assistant: <think>"""

_PROPOSE = """\
Invent a Python function and one input for it. {purpose} It should take careful reasoning, yet be possible.

Rules for the function:
- It is called `f`, takes at least one argument and returns a value made of numbers, strings, booleans, \
None, lists, tuples, dicts and sets.
- The same input always gives the same output: no chance, clock, files, network, printing or global state.
- It looks at its input, it is not the identity, and it runs in well under a second.
{rules}{examples}
Give two blocks: one that opens with ```python and holds the function with the imports it needs, and one \
that opens with ```input and holds the call arguments, such as `[1, 2], 'a'`."""

_PURPOSE = {
    Kind.ABDUCTION: "A solver will see your program and its output, and must find an input that gives it.",
    Kind.DEDUCTION: "A solver will see your program and its input, and must predict the output.",
}

_PROPOSE_INPUTS = """\
Here is a Python function.

{program}

A solver will see some of its inputs with their outputs and your message, and must write the function. Give \
{pairs} inputs that differ and together show all that it does, each as call arguments such as `[1, 2], 'a'` \
in a block of its own that opens with ```input, and one block that opens with ```message: a hint that holds \
neither code nor outputs."""

_FIND_INPUT = """\
Find an input for which this program gives this output.

{program}

{output}

Any such input will do. Give the call arguments, such as `[1, 2], 'a'`, in one block that opens \
with ```input."""

_PREDICT = """\
Predict what this program returns for this input.

{program}

{input}

Give the value as a Python literal (strings in quotes) in one block that opens with ```output."""

_FIND_PROGRAM = """\
Find the Python function behind these inputs and outputs.

{pairs}

{hint}It is tested on further inputs. Give the whole function, called `f`, with the imports it needs, in \
one block that opens with ```python."""

_FENCE = re.compile(r"```([A-Za-z]*)[ \t]*")
_TAG = {Kind.ABDUCTION: "input", Kind.DEDUCTION: "output", Kind.INDUCTION: "python"}


class Think:
    """Names `forbidden_modules` to the proposer and asks it for `pairs` inputs of an induction task."""

    name = "think"

    def __init__(self, forbidden_modules: Sequence[str] = (), pairs: int = 6):
        self.forbidden_modules, self.pairs = tuple(forbidden_modules), pairs

    def propose(self, spec: Spec | None, kind: Kind, references: Sequence[Task]) -> str:
        """Ask for a program with an input, or (induction) for inputs and a message on `references[0]`."""
        if kind is Kind.INDUCTION:
            program = _fence("python", references[0].program)
            return _FRAME.format(task=_PROPOSE_INPUTS.format(program=program, pairs=self.pairs))
        examples = "\n\n".join(f"Example {n}:\n{_example(task)}" for n, task in enumerate(references, 1))
        if examples:
            examples = f"\nThese exist already; make something different in kind.\n\n{examples}\n"
        task = _PROPOSE.format(purpose=_PURPOSE[kind], rules=self._rules(spec), examples=examples)
        return _FRAME.format(task=task)

    def parse_proposal(self, spec: Spec | None, kind: Kind, references: Sequence[Task], text: str) -> Draft:
        """The last ```python and ```input block, or all ```input blocks and the last ```message."""
        blocks = _blocks(_answer(text))
        wanted = spec.bin if spec else 0
        parents = tuple(task.id for task in references)
        inputs = tuple(body for tag, body in blocks if tag == "input" and body)
        if not inputs:
            raise Malformed("no_input")
        if kind is Kind.INDUCTION:
            message = _last(blocks, "message", "no_message")
            return Draft(kind, references[0].program, inputs, message, bin=wanted, parents=parents[:1])
        program = _program(_last(blocks, "python", "no_program"))
        return Draft(kind, program, inputs[-1:], bin=wanted, parents=parents)

    def solve(self, task: Task) -> str:
        """The task with the missing part asked for."""
        program = _fence("python", task.program)
        if task.kind is Kind.INDUCTION:
            shown = zip(task.inputs[: task.shown], task.outputs[: task.shown], strict=True)
            pairs = "\n\n".join(f"{_fence('input', i)}\n{_fence('output', o)}" for i, o in shown)
            hint = f"A hint on it:\n\n{_fence('message', task.message)}\n\n" if task.message else ""
            question = _FIND_PROGRAM.format(pairs=pairs, hint=hint)
        elif task.kind is Kind.ABDUCTION:
            question = _FIND_INPUT.format(program=program, output=_fence("output", task.outputs[0]))
        else:
            question = _PREDICT.format(program=program, input=_fence("input", task.inputs[0]))
        return _FRAME.format(task=question)

    def parse_answer(self, kind: Kind, text: str) -> str:
        """The last block with the wanted tag; else the only block; else, if there is none, the bare text."""
        answer = _answer(text)
        blocks = _blocks(answer)
        found = [body for tag, body in blocks if tag == _TAG[kind]]
        if not found and len(blocks) > 1:
            raise Malformed("no_block")
        if not blocks and "```" in answer:
            raise Malformed("no_block")
        content = found[-1] if found else blocks[0][1] if blocks else answer
        if not content:
            raise Malformed("empty")
        return _program(content) if kind is Kind.INDUCTION else content

    def _rules(self, spec: Spec | None) -> str:
        rules = ""
        if spec is not None:
            noun = "statement" if spec.bin == 1 else "statements"
            rules += (
                f"- Its body has exactly {spec.bin} top-level {noun}; a loop with its body counts as one.\n"
            )
        if self.forbidden_modules:
            rules += f"- It does not import any of: {', '.join(self.forbidden_modules)}.\n"
        return rules


def _answer(text: str) -> str:
    """What stands between the last <answer> and its end, in a completion that is well formed around it."""
    head, tag, rest = text.rpartition("<answer>")
    if not tag:
        raise Malformed("no_answer")
    _, closed, gap = head.rpartition("</think>")
    if not closed:
        raise Malformed("no_think")
    if gap.strip():
        raise Malformed("outside")
    answer, end, tail = rest.partition("</answer>")
    if not end:
        raise Malformed("unclosed")
    if tail.strip():
        raise Malformed("outside")
    return answer.replace("\r\n", "\n").strip()


def _blocks(answer: str) -> list[tuple[str, str]]:
    """Tags and bodies of the closed fenced blocks, in order; one that opens in another replaces it."""
    blocks: list[tuple[str, str]] = []
    tag: str | None = None
    body: list[str] = []
    for line in answer.split("\n"):
        fence = _FENCE.fullmatch(line)
        if fence is None:
            body.append(line)
        elif tag is None or fence[1]:
            tag, body = fence[1].lower(), []
        else:
            blocks.append((tag, "\n".join(body).strip()))
            tag = None
    return blocks


def _last(blocks: Sequence[tuple[str, str]], wanted: str, otherwise: str) -> str:
    found = [body for tag, body in blocks if tag == wanted and body]
    if not found:
        raise Malformed(otherwise)
    return found[-1]


def _program(text: str) -> str:
    if "def f(" not in text:
        raise Malformed("no_program")
    return text


def _fence(tag: str, body: str) -> str:
    return f"```{tag}\n{body}\n```"


def _example(task: Task) -> str:
    return "\n".join(
        (_fence("python", task.program), _fence("input", task.inputs[0]), _fence("output", task.outputs[0]))
    )
