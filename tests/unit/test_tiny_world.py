"""The tiny world's programs and examples: what the grammar promises, the executor confirms."""

from __future__ import annotations

import ast
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from azrl.evals.items import held_out
from azrl.executor import Job, Limits, Status
from azrl.executor.mock import MockExecutor
from azrl.models import corpus, programs, warmstart
from azrl.tasks import judge, normalise, policy
from azrl.tasks.prompts.compact import Compact
from azrl.tasks.types import Kind

ALLOWED = (
    *(ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.If, ast.For),
    *(
        ast.Name,
        ast.Load,
        ast.Store,
        ast.Constant,
        ast.BinOp,
        ast.UnaryOp,
        ast.Compare,
        ast.Call,
        ast.Attribute,
    ),
    *(ast.Subscript, ast.Slice, ast.List, ast.ListComp, ast.comprehension),
    *(ast.operator, ast.unaryop, ast.cmpop),
)
TYPES = {programs.INT: int, programs.LIST: list, programs.STR: str}


def execute(jobs: Sequence[tuple[str, Sequence[str]]]) -> list[Sequence[str | None]]:
    results = MockExecutor().run([Job(p, inputs, Limits()) for p, inputs in jobs])
    return [r.outputs or (None,) * len(inputs) for r, (_, inputs) in zip(results, jobs, strict=True)]


@pytest.mark.parametrize("statements", [1, 2, 3, 4])
def test_a_program_has_as_many_statements_as_were_asked_for(statements: int) -> None:
    rng = Random(statements)
    for _ in range(300):
        source, kind = programs.program(rng, statements)
        tree = ast.parse(source)
        [function] = tree.body
        assert isinstance(function, ast.FunctionDef)
        assert [a.arg for a in function.args.args] == ["x"]
        assert len(function.body) == statements == normalise.statements(source)
        assert isinstance(function.body[-1], ast.Return)
        assert not any(isinstance(node, ast.Return) for part in function.body[:-1] for node in ast.walk(part))
        assert {type(n) for n in ast.walk(tree) if not isinstance(n, ALLOWED)} == set()
        assert kind in programs.TYPES
        assert policy.check(source, ()) is None
        written = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        assert written - {"v"} <= read


def test_every_operation_gives_the_type_it_says() -> None:
    rng = Random(0)
    jobs, wanted = [], []
    for argument, result, pattern in programs.OPERATIONS:
        for _ in range(20):
            body = programs._fill(rng, pattern, "x")
            jobs.append(Job(f"def f(x):\n    return {body}", [programs.argument(rng, argument)]))
            wanted.append((TYPES[result], pattern))
    for (kind, pattern), result in zip(wanted, MockExecutor().run(jobs), strict=True):
        assert result.status is Status.OK, (pattern, result.error)
        assert type(judge.literal(result.outputs[0] or "")) is kind, pattern


def test_every_condition_can_go_both_ways() -> None:
    rng = Random(0)
    for kind, patterns in programs.CONDITIONS.items():
        for pattern in patterns:
            jobs = [
                (f"def f(x):\n    return {programs._fill(rng, pattern, 'x')}", [programs.argument(rng, kind)])
                for _ in range(80)
            ]
            assert {output for [output] in execute(jobs)} == {"True", "False"}, pattern


def test_nested_operands_keep_their_meaning() -> None:
    """An operand that is an expression is put in brackets: (x + 1) * 2, not x + 1 * 2."""
    assert programs._fill(Random(0), "{x} * 2", "x + 1") == "(x + 1) * 2"
    assert programs._fill(Random(0), "len({x})", "sorted(x)") == "len(sorted(x))"


def test_nearly_all_programs_run_on_arguments_of_their_type() -> None:
    rng = Random(1)
    jobs = []
    for i in range(800):
        source, kind = programs.program(rng, 1 + i % 4)
        jobs.append(Job(source, [programs.argument(rng, kind)]))
    results = MockExecutor().run(jobs)
    assert Counter(r.status for r in results)[Status.OK] > 740
    # Of an empty list; and `x + [7][0]`, where brackets around the sum were left out.
    assert {r.error for r in results} <= {"", "IndexError", "ValueError", "TypeError"}


def test_programs_are_a_function_of_the_seed_and_varied() -> None:
    def draw(seed: int) -> list[tuple[str, str]]:
        rng = Random(seed)
        return [programs.program(rng, 1 + i % 4) for i in range(200)]

    assert draw(5) == draw(5)
    assert len(set(draw(5))) > 170
    assert len({normalise.program_key(p) for p, _ in draw(5) + draw(6)}) > 320


@pytest.mark.parametrize("kind", programs.TYPES)
def test_arguments_are_canonical_literals_of_their_type(kind: str) -> None:
    rng = Random(2)
    for _ in range(200):
        text = programs.argument(rng, kind)
        assert judge.canonical(text) == text
        assert type(judge.literal(text)) is TYPES[kind]


def take(n: int, bins: Sequence[int] = (1, 2), seen: set[str] | None = None, **options: bool) -> list:
    refused = set() if seen is None else seen
    found = corpus.executed(Random(3), bins, execute, seen=refused, distinct=options.get("distinct", False))
    return list(itertools.islice(found, n))


def test_examples_are_true_and_worth_asking() -> None:
    examples = take(300, (1, 2, 3, 4))
    outcomes = execute([(found.program, found.inputs) for found in examples])
    for found, outcome in zip(examples, outcomes, strict=True):
        assert tuple(outcome) == found.outputs
        assert normalise.statements(found.program) == found.size
        assert len(set(found.inputs)) == len(found.inputs) == len(found.outputs) == corpus.PAIRS
        assert len(set(found.outputs)) > 1
        assert found.outputs != found.inputs
        assert all(len(output) <= corpus.MAX_VALUE_CHARS for output in found.outputs)
        assert all(values for values in found.values)
    assert {found.size for found in examples} == {1, 2, 3, 4}


def interpreted(statements: Sequence[ast.stmt], names: dict[str, object], log: list[object]) -> None:
    """Runs statements of the tiny world one by one and logs what each operation gives: operands before operators."""

    def value(node: ast.expr) -> object:
        for child in [] if isinstance(node, ast.ListComp) else ast.iter_child_nodes(node):
            if isinstance(child, ast.expr) and not isinstance(child, ast.Slice):
                value(child)
        result = eval(ast.unparse(node), {}, dict(names))
        if not isinstance(node, ast.Name | ast.Constant | ast.List | ast.Attribute | ast.UnaryOp):
            log.append(result)
        return result

    for statement in statements:
        if isinstance(statement, ast.Assign):
            given = names[statement.targets[0].id] = value(statement.value)  # type: ignore[attr-defined]
            if isinstance(statement.value, ast.List):
                log.append(given)
        elif isinstance(statement, ast.If):
            interpreted(statement.body if value(statement.test) else statement.orelse, names, log)
        elif isinstance(statement, ast.For):
            counted = ast.unparse(statement.iter).startswith("range")
            over = eval(ast.unparse(statement.iter)) if counted else value(statement.iter)
            for names["v"] in over:  # type: ignore[attr-defined]
                interpreted(statement.body, names, log)
        else:
            assert isinstance(statement, ast.Return)
            returned = value(statement.value)  # type: ignore[arg-type]
            if isinstance(statement.value, ast.Name | ast.List):
                log.append(returned)


def test_values_are_what_an_interpreter_finds_operation_by_operation() -> None:
    for found in take(150, (1, 2, 3, 4)):
        for argument, values in zip(found.inputs, found.values, strict=True):
            log: list[object] = []
            body = ast.parse(found.program).body[0].body  # type: ignore[attr-defined]
            interpreted(body, {"x": ast.literal_eval(argument)}, log)
            assert values == tuple(map(repr, log)), found.program


def test_worked_answers_are_judged_right_and_show_their_values() -> None:
    """What the warm start shows: the answer on the last line, for deduction what each operation gives before."""
    stream = warmstart.examples(Random(4), Compact(), execute, set())
    kinds = Counter()
    for prompt, completion in itertools.islice(stream, 300):
        kind = {"deduce": Kind.DEDUCTION, "abduce": Kind.ABDUCTION}.get(prompt.partition("\n")[0])
        if kind is None:
            continue
        _, program, text = re.fullmatch(
            r"(.*?)\n(def f.*)\n(?:in|out) (.*)\n(?:in|out) ", prompt, re.S
        ).groups()  # type: ignore[union-attr]
        lines = completion.split("\n")
        answer = Compact().parse_answer(kind, completion)
        assert answer == lines[-1]
        argument, output = (text, answer) if kind is Kind.DEDUCTION else (answer, text)
        assert list(execute([(program, [argument])])[0]) == [output]
        kinds[kind] += 1
    assert min(kinds.values()) > 50


def test_nothing_that_is_held_out_is_ever_shown() -> None:
    refused = set(held_out())
    shown = {normalise.program_key(found.program) for found in take(600, seen=refused)}
    assert not shown & held_out()
    assert refused == held_out()
    free = {normalise.program_key(found.program) for found in take(600)}
    assert free & held_out()  # the grammar does draw them


def test_distinct_examples_join_what_was_seen() -> None:
    seen: set[str] = set()
    keys = [normalise.program_key(found.program) for found in take(200, (1, 2, 3), seen, distinct=True)]
    assert len(set(keys)) == 200
    assert set(keys) <= seen


def test_one_program_gives_one_task_of_each_kind() -> None:
    [found] = take(1)
    program, inputs, outputs = found.program, found.inputs, found.outputs
    tasks = corpus.tasks_of(found)
    assert list(tasks) == list(Kind)
    for kind in (Kind.ABDUCTION, Kind.DEDUCTION):
        assert (tasks[kind].inputs, tasks[kind].outputs) == (inputs[:1], outputs[:1])
    assert (tasks[Kind.INDUCTION].inputs, tasks[Kind.INDUCTION].shown) == (inputs, 3)
    assert {(t.kind, t.program, t.bin) for t in tasks.values()} == {(k, program, found.size) for k in Kind}


def test_a_program_that_fails_on_one_input_is_drawn_again() -> None:
    def failing(jobs: Sequence[tuple[str, Sequence[str]]]) -> list[Sequence[str | None]]:
        return [
            [*o[:-1], None] if "sorted" in p else o for o, (p, _) in zip(execute(jobs), jobs, strict=True)
        ]

    found = corpus.executed(Random(3), (1,), failing, seen=set(), distinct=False)
    assert not any("sorted" in item.program for item in itertools.islice(found, 200))
    assert any("sorted" in item.program for item in take(200, (1,)))
