"""The think template: what is asked comes back, and nothing that a model writes breaks the parser."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azrl.tasks.prompts import Malformed, build_template
from azrl.tasks.types import KINDS, Draft, Kind, Spec, Task

TASK = Task(
    Kind.INDUCTION,
    "def f(x):\n    return {'a': x}",
    ("1", "2", "3", "4"),
    ("{'a': 1}", "{'a': 2}", "{'a': 3}", "{'a': 4}"),
    message="A dict.",
    shown=2,
)
ONE = Task(Kind.DEDUCTION, "def f(x):\n    return x * 2", ("'ab'",), ("'abab'",), bin=1)
THINK = build_template("think", forbidden_modules=("os", "random"), pairs=5)


def reply(*blocks: tuple[str, str], thought: str = "hm", tail: str = "") -> str:
    body = "\n".join(f"```{tag}\n{text}\n```" for tag, text in blocks)
    return f" {thought} </think>\n<answer>\n{body}\n</answer>{tail}"


def reason(kind: Kind, text: str) -> str:
    with pytest.raises(Malformed) as caught:
        THINK.parse_answer(kind, text)
    return caught.value.reason


def test_templates_have_names():
    assert THINK.name == "think"
    with pytest.raises(ValueError, match="'compact' and 'think'"):
        build_template("chat")


def test_proposer_prompt_shows_references_rules_and_difficulty():
    prompt = THINK.propose(Spec(Kind.DEDUCTION, 3), Kind.DEDUCTION, [ONE, TASK])
    assert prompt.endswith("Assistant: <think>")
    assert f"```python\n{ONE.program}\n```\n```input\n'ab'\n```\n```output\n'abab'\n```" in prompt
    assert "Example 2" in prompt
    assert "exactly 3 top-level statements" in prompt
    assert "os, random" in prompt
    bare = build_template("think").propose(None, Kind.ABDUCTION, [])
    assert "top-level" not in bare
    assert "import any of" not in bare
    assert "Example" not in bare


def test_induction_proposer_is_shown_one_program_and_asked_for_inputs():
    prompt = THINK.propose(None, Kind.INDUCTION, [TASK])
    assert TASK.program in prompt
    assert "5 inputs" in prompt
    assert TASK.outputs[0] not in prompt


@pytest.mark.parametrize("kind", KINDS)
def test_solver_prompt_shows_what_is_given_and_hides_the_rest(kind: Kind):
    task = Task(
        kind, "def f(x):\n    return x + [7]", ("[1]", "[2]", "[3]"), ("[1, 7]", "[2, 7]", "[3, 7]"), "m!", 1
    )
    prompt = THINK.solve(task)
    assert prompt.endswith("<think>")
    assert (task.program in prompt) == (kind is not Kind.INDUCTION)
    assert ("\n[1]\n" in prompt) == (kind is not Kind.ABDUCTION)
    assert ("[1, 7]" in prompt) == (kind is not Kind.DEDUCTION)
    assert ("m!" in prompt) == (kind is Kind.INDUCTION)
    assert "[2]" not in prompt
    assert "[3, 7]" not in prompt


fenceless = st.text().filter(lambda s: "```" not in s and "<" not in s and "\r" not in s and s.strip())


@given(fenceless, fenceless)
def test_proposals_round_trip(argument: str, thought: str):
    program = "def f(x):\n    return [x]"
    text = reply(("python", program), ("input", argument), thought=thought)
    wanted = Draft(Kind.ABDUCTION, program, (argument.strip(),), bin=2, parents=(ONE.id,))
    assert THINK.parse_proposal(Spec(Kind.ABDUCTION, 2), Kind.ABDUCTION, [ONE], text) == wanted


@given(st.lists(fenceless, min_size=1), fenceless)
def test_induction_proposals_round_trip(arguments: list[str], message: str):
    text = reply(*(("input", a) for a in arguments), ("message", message))
    draft = THINK.parse_proposal(None, Kind.INDUCTION, [TASK, ONE], text)
    assert draft == Draft(
        Kind.INDUCTION, TASK.program, tuple(a.strip() for a in arguments), message.strip(), parents=(TASK.id,)
    )


@given(fenceless)
def test_answers_round_trip(answer: str):
    for kind, tag in ((Kind.ABDUCTION, "input"), (Kind.DEDUCTION, "output")):
        assert THINK.parse_answer(kind, reply((tag, answer))) == answer.strip()
        assert THINK.parse_answer(kind, f"</think><answer>{answer}</answer>") == answer.strip()
    program = f"def f(x):\n    return {answer}"
    assert THINK.parse_answer(Kind.INDUCTION, reply(("python", program))) == program.strip()


def test_last_answer_and_last_block_count():
    text = "</think> <answer>1</answer> no: </think>" + reply(("output", "2"), ("output", "3"))
    assert THINK.parse_answer(Kind.DEDUCTION, text) == "3"
    assert THINK.parse_answer(Kind.DEDUCTION, reply(("", "4"))) == "4"


def test_each_malformation_has_its_reason():
    d = Kind.DEDUCTION
    assert reason(d, "</think> 3") == "no_answer"
    assert reason(d, "<answer>3</answer>") == "no_think"
    assert reason(d, "</think> so <answer>3</answer>") == "outside"
    assert reason(d, "</think><answer>3</answer> User: more") == "outside"
    assert reason(d, "</think><answer>3") == "unclosed"
    assert reason(d, "</think><answer> </answer>") == "empty"
    assert reason(d, "</think><answer>```output\n3</answer>") == "no_block"
    assert reason(d, reply(("input", "1"), ("python", "2"))) == "no_block"
    assert reason(Kind.INDUCTION, reply(("python", "f = 3"))) == "no_program"
    for blocks, wanted in (
        ([("python", "def f(x):\n    return x")], "no_input"),
        ([("input", "1")], "no_program"),
        ([("input", "1"), ("python", "x = 1")], "no_program"),
    ):
        with pytest.raises(Malformed) as caught:
            THINK.parse_proposal(None, d, [], reply(*blocks))
        assert caught.value.reason == wanted
    with pytest.raises(Malformed, match="no_message"):
        THINK.parse_proposal(None, Kind.INDUCTION, [TASK], reply(("input", "1")))


pieces = st.sampled_from(
    ["<answer>", "</answer>", "</think>", "```", "```python\n", "```input\n", "\n", "def f(", "1"]
)


@given(st.lists(pieces | st.text(max_size=5)).map("".join))
def test_any_text_parses_or_is_malformed(text: str):
    for kind in KINDS:
        for parse in (
            lambda k: THINK.parse_answer(k, text),
            lambda k: THINK.parse_proposal(None, k, [TASK], text),
        ):
            with suppress(Malformed):
                parse(kind)
