"""The <think>/<answer> template for language models, base models without a chat format included.

The prompt ends inside an open <think>, as in DeepSeek-R1-Zero (arXiv 2501.12948) and Absolute Zero; the
completion closes it and gives its result in fenced blocks between <answer> and </answer>. The wording is ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from azrl.tasks.prompts.base import Malformed
from azrl.tasks.types import Draft, Kind, Spec, Task

_FRAME = """\
A user sets a task and an assistant solves it. The assistant thinks step by step between <think> and </think>, \
then gives nothing but the result between <answer> and </answer>.
User: {task}
Assistant: <think>"""

_RULES = """\
Rules for the function:
- It is called `f`, takes at least one argument and returns a value made of numbers, strings, booleans, None, \
lists, tuples, dicts and sets.
- The same input always gives the same output: no chance, clock, files, network, printing or global state.
- It looks at its input, it is not the identity, and it runs in well under a second.
{size}{modules}"""

_PURPOSE = {
    Kind.ABDUCTION: "A solver will see your program and its output, and must find an input that gives it.",
    Kind.DEDUCTION: "A solver will see your program and its input, and must predict the output.",
}

_BLOCK = re.compile(r"^```([A-Za-z]*)[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_TAG = {Kind.ABDUCTION: "input", Kind.DEDUCTION: "output", Kind.INDUCTION: "python"}


class Think:
    """`forbidden_modules` are named to the proposer, which is asked for `pairs` inputs of an induction task."""

    name = "think"

    def __init__(self, forbidden_modules: Sequence[str] = (), pairs: int = 6):
        self.forbidden_modules, self.pairs = tuple(forbidden_modules), pairs

    def propose(self, spec: Spec | None, kind: Kind, references: Sequence[Task]) -> str:
        """Ask for a program with an input, or (induction) for inputs and a message on `references[0]`."""
        if kind is Kind.INDUCTION:
            task = (
                f"Here is a Python function.\n\n{_fence('python', references[0].program)}\n\n"
                f"A solver will see some inputs of it with their outputs and your message, and must write the "
                f"function. Give {self.pairs} inputs that differ and together show all that it does, each as "
                f"call arguments such as `[1, 2], 'a'` in a block of its own that opens with ```input, and one "
                f"block that opens with ```message: a hint that holds neither code nor outputs."
            )
            return _FRAME.format(task=task)
        parts = [
            f"Invent a Python function and one input for it. {_PURPOSE[kind]} It should take careful reasoning, "
            f"yet be possible.",
            _RULES.format(size=_size(spec), modules=self._modules()).rstrip(),
        ]
        if references:
            shown = "\n\n".join(f"Example {n}:\n{_example(task)}" for n, task in enumerate(references, 1))
            parts.append(f"These exist already; make something different in kind.\n\n{shown}")
        parts.append(
            "Give two blocks: one that opens with ```python and holds the function with the imports it needs, one "
            "that opens with ```input and holds the call arguments, such as `[1, 2], 'a'`."
        )
        return _FRAME.format(task="\n\n".join(parts))

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
        if task.kind is Kind.INDUCTION:
            pairs = zip(task.inputs[: task.shown], task.outputs[: task.shown], strict=True)
            shown = "\n\n".join(f"{_fence('input', i)}\n{_fence('output', o)}" for i, o in pairs)
            hint = f"A hint on it:\n\n{_fence('message', task.message)}\n\n" if task.message else ""
            question = (
                f"Find the Python function behind these inputs and outputs.\n\n{shown}\n\n{hint}"
                f"It is tested on further inputs. Give the whole function, called `f`, with the imports it needs, "
                f"in one block that opens with ```python."
            )
        elif task.kind is Kind.ABDUCTION:
            question = (
                f"Find an input for which this program gives this output.\n\n{_fence('python', task.program)}\n\n"
                f"{_fence('output', task.outputs[0])}\n\n"
                f"Any such input will do. Give the call arguments, such as `[1, 2], 'a'`, in one block that opens "
                f"with ```input."
            )
        else:
            question = (
                f"Predict what this program returns for this input.\n\n{_fence('python', task.program)}\n\n"
                f"{_fence('input', task.inputs[0])}\n\n"
                f"Give the value as a Python literal (strings in quotes) in one block that opens with ```output."
            )
        return _FRAME.format(task=question)

    def parse_answer(self, kind: Kind, text: str) -> str:
        """The last block with the wanted tag; else the only block; else, where there is none, the bare text."""
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

    def _modules(self) -> str:
        names = ", ".join(self.forbidden_modules)
        return f"- It does not import any of: {names}.\n" if names else ""


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
    return answer.strip()


def _blocks(answer: str) -> list[tuple[str, str]]:
    return [(tag.lower(), body.strip()) for tag, body in _BLOCK.findall(answer)]


def _last(blocks: Sequence[tuple[str, str]], wanted: str, otherwise: str) -> str:
    found = [body for tag, body in blocks if tag == wanted and body]
    if not found:
        raise Malformed(otherwise)
    return found[-1]


def _program(text: str) -> str:
    if "def f(" not in text:
        raise Malformed("no_program")
    return text


def _size(spec: Spec | None) -> str:
    if spec is None:
        return ""
    noun = "statement" if spec.bin == 1 else "statements"
    return f"- Its body is exactly {spec.bin} top-level {noun} long; a loop with its body counts as one.\n"


def _fence(tag: str, body: str) -> str:
    return f"```{tag}\n{body}\n```"


def _example(task: Task) -> str:
    return "\n".join(
        (_fence("python", task.program), _fence("input", task.inputs[0]), _fence("output", task.outputs[0]))
    )
