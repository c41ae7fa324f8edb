"""The proposer: from arms to prompts, and from completions to drafts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from azrl.buffer import TaskBuffer
from azrl.config import Config
from azrl.engine import Completion
from azrl.selfplay.proposer import Proposer, parse_arm
from azrl.tasks.prompts import build_template
from azrl.tasks.types import Kind, Spec, Task

TEMPLATE = build_template("compact")


@pytest.fixture
def buffer(tmp_path: Path) -> Iterator[TaskBuffer]:
    """Six deduction and three abduction programs, in bins 1 to 3."""
    with TaskBuffer(tmp_path / "buffer.sqlite") as buffer:
        for i in range(9):
            kind = Kind.DEDUCTION if i % 3 else Kind.ABDUCTION
            task = Task(kind, f"def f(x):\n    return x + {i}", ("1",), (str(1 + i),), bin=1 + i % 3)
            buffer.add(task, key=f"key {i}", step=0)
        yield buffer


def proposer(buffer: TaskBuffer, longest: int = 10_000, **selfplay: object) -> Proposer:
    config = Config.model_validate({"selfplay": selfplay, "engine": {"temperature": 0.7, "top_p": 0.9}})
    return Proposer(config, TEMPLATE, buffer, lambda text: len(text) <= longest)


def completion(text: str, finish: str = "stop") -> Completion:
    return Completion(text, (), (1,), (-0.1,), finish)


def test_an_arm_is_a_kind_and_a_bin() -> None:
    assert parse_arm("induction:4") == Spec(Kind.INDUCTION, 4)


def test_a_request_shows_references_of_its_kind_and_asks_for_its_bin(buffer: TaskBuffer) -> None:
    arms = ["deduction:3", "abduction:1", "induction:2"]
    requests, asked = proposer(buffer).requests(arms, step=7)
    assert [arm for arm, _, _ in asked] == arms
    assert [spec for _, spec, _ in asked] == [parse_arm(arm) for arm in arms]
    for request, (_, spec, references) in zip(requests, asked, strict=True):
        assert request.prompt == TEMPLATE.propose(spec, spec.kind, references)
        assert (request.n, request.max_tokens, request.temperature, request.top_p) == (1, 96, 0.7, 0.9)
    (_, _, deduction), (_, _, abduction), (_, _, induction) = asked
    assert {t.kind for t in deduction} == {Kind.DEDUCTION}
    assert {t.kind for t in abduction} == {Kind.ABDUCTION}
    assert len(deduction) == len({t.id for t in deduction}) == 2
    assert [t.bin for t in induction] == [2]


def test_requests_are_a_function_of_seed_and_step(buffer: TaskBuffer) -> None:
    arms = ["deduction:1"] * 8
    one = proposer(buffer).requests(arms, step=3)
    assert proposer(buffer).requests(arms, step=3) == one
    assert proposer(buffer).requests(arms, step=4) != one
    assert len({request.seed for request in one[0]}) == 8


def test_induction_falls_back_to_any_bin_and_without_a_program_to_deduction(
    buffer: TaskBuffer, tmp_path: Path
) -> None:
    _, [(_, spec, references)] = proposer(buffer).requests(["induction:4"], step=1)
    assert spec.kind is Kind.INDUCTION
    assert len(references) == 1
    with TaskBuffer(tmp_path / "empty.sqlite") as empty:
        [request], [(arm, spec, references)] = proposer(empty).requests(["induction:4"], step=1)
    assert (arm, spec, references) == ("induction:4", Spec(Kind.DEDUCTION, 4), [])
    assert request.prompt == "propose deduction ||||\nnew\n"


def test_without_references_and_spec_a_prompt_says_only_the_kind(buffer: TaskBuffer) -> None:
    blind = proposer(buffer, k_references=0, spec=False)
    requests, _ = blind.requests(["deduction:3", "abduction:1"], step=1)
    assert [r.prompt for r in requests] == ["propose deduction \nnew\n", "propose abduction \nnew\n"]


@pytest.mark.parametrize(("longest", "left"), [(10_000, 2), (70, 1), (30, 0), (1, 0)])
@pytest.mark.parametrize("kind", ["deduction", "abduction"])
def test_references_are_dropped_until_the_prompt_fits(
    buffer: TaskBuffer, kind: str, longest: int, left: int
) -> None:
    [request], [(_, spec, references)] = proposer(buffer, longest).requests([f"{kind}:2"], step=1)
    assert (spec.kind, len(references)) == (kind, left)
    assert request.prompt.count("ref\n") == left
    assert request.prompt.startswith(f"propose {kind} ||\n")


def test_an_induction_prompt_that_does_not_fit_becomes_a_deduction(buffer: TaskBuffer) -> None:
    [request], [(_, spec, references)] = proposer(buffer, 30).requests(["induction:2"], step=1)
    assert (spec, references) == (Spec(Kind.DEDUCTION, 2), [])
    assert request.prompt == "propose deduction ||\nnew\n"


def test_completions_become_drafts_or_reasons(buffer: TaskBuffer) -> None:
    subject = proposer(buffer)
    requests, asked = subject.requests(["deduction:1"] * 4, step=1)
    texts = [("def f(x):\n    return x\nin 3", "stop"), ("def f(x):\n    return x\nin 3", "length"),
             ("hello", "stop"), ("", "stop")]  # fmt: skip
    read = subject.read(asked, requests, [[completion(*text)] for text in texts])
    assert [p.reason for p in read] == ["parsed", "cut_off", "no_input", "no_input"]
    assert [p.draft is not None for p in read] == [True, False, False, False]
    draft = read[0].draft
    assert draft
    assert (draft.kind, draft.program, draft.inputs) == (Kind.DEDUCTION, "def f(x):\n    return x", ("3",))
    assert draft.parents == tuple(t.id for t in read[0].references)
    assert [p.prompt for p in read] == [r.prompt for r in requests]
