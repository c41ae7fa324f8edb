"""The gate: every refusal has its reason, one batch of executions, and what is admitted is proven."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azrl.executor import Job, Limits, open_executor
from azrl.tasks import judge, mutate, trivial
from azrl.tasks.gate import Execution, Gate, GateLimits, Observation, Reason, Verdict, fingerprint
from azrl.tasks.normalise import program_key
from azrl.tasks.types import Draft, Kind

REVERSE = "def f(xs):\n    ys = xs[::-1]\n    return ys + [7]"
TOLD = "def f(x):\n    # [2, 1]\n    return x[::-1]"
QUOTED = "def f(x):\n    return x == 'abc' or x"
ADD = "def f(a, b):\n    return a + b"


def run_here(executions: Sequence[Execution]) -> list[Observation]:
    """Runs this file's own programs in place; VARIANT is the interpreter's number and CALLS its memory."""
    observations = []
    for execution in executions:
        calls: list[int] = []
        outputs: list[str | None] = []
        for text in execution.inputs:
            space: dict[str, object] = {"VARIANT": execution.variant, "CALLS": calls}
            try:
                exec(f"{execution.program}\nOUT = f({text})", space)
                outputs.append(judge.render(space["OUT"]))
            except (TypeError, IndexError, ValueError):
                outputs.append(None)
        failed = all(output is None for output in outputs)
        observations.append(
            Observation("error" if failed else "ok", tuple(outputs), "raised" if failed else "")
        )
    return observations


def draft(program: str, *inputs: str, kind: Kind = Kind.DEDUCTION, message: str = "") -> Draft:
    return Draft(kind, program, inputs or ("[1, 2]",), message)


def admit(
    *drafts: Draft, execute=run_here, known: Callable[[str], bool] = lambda f: False, **limits
) -> list[Verdict]:
    held_out = limits.pop("held_out", frozenset())
    return Gate(GateLimits(**limits), held_out).admit(drafts, execute, known)


def outcome(*args: Draft, **kwargs) -> tuple[str, str]:
    verdict = admit(*args, **kwargs)[-1]
    assert (verdict.task is None) == (verdict.reason is not Reason.ADMITTED)
    return verdict.reason.value, verdict.detail


def test_an_admitted_task_is_complete_and_canonical():
    given_ = Draft(Kind.ABDUCTION, REVERSE, ("[1,2 , 3]",), bin=4, parents=("p",))
    [verdict] = admit(given_)
    assert verdict.reason == "admitted"
    task = verdict.task
    assert task is not None
    assert (task.kind, task.program, task.inputs, task.outputs) == (
        Kind.ABDUCTION,
        REVERSE,
        ("[1, 2, 3]",),
        ("[3, 2, 1, 7]",),
    )
    assert (task.bin, task.parents, task.shown) == (2, ("p",), 0)
    assert verdict.draft is given_
    assert verdict.key == program_key(REVERSE)
    assert verdict.fingerprint == fingerprint(Kind.ABDUCTION, verdict.key, task.inputs)
    assert len(verdict.signature) == 16


def test_induction_keeps_distinct_valid_pairs_and_shows_half():
    inputs = ("1, 2", "1,2", "[1], [2]", "oops(", "1, 'a'", "'a', 'b'", "2, 3", "5, 5", "6, 6")
    [verdict] = admit(draft(ADD, *inputs, kind=Kind.INDUCTION, message="Join them."), pairs=5)
    task = verdict.task
    assert task is not None
    assert task.inputs == ("1, 2", "[1], [2]", "'a', 'b'", "2, 3"), (
        "five literals are run, one of them raises"
    )
    assert task.outputs == ("3", "[1, 2]", "'ab'", "5")
    assert task.shown == 2
    assert task.message == "Join them."


@pytest.mark.parametrize(
    ("proposal", "expected"),
    [
        (draft("def f(x):\n    return x" + " + 1" * 600), ("too_large", "program")),
        (draft(ADD, *"123", kind=Kind.INDUCTION, message="m" * 2001), ("too_large", "message")),
        (draft(REVERSE, str(list(range(200)))), ("too_large", "input:too_long")),
        (draft("def f(x):\n    return x * 500"), ("too_large", "output:too_long")),
        (draft("def f(x:"), ("parse", "program:syntax")),
        (draft(REVERSE, "f([1])"), ("parse", "input:name")),
        (draft(REVERSE, "[1]", "[2]"), ("parse", "inputs")),
        (draft(ADD, "1, 2", "1,2", "3, 4", kind=Kind.INDUCTION), ("parse", "inputs")),
        (draft("import os\n" + REVERSE), ("policy", "import:os")),
        (draft("def g(x):\n    return x"), ("policy", "no_f")),
        (draft("def f(x):\n    return x[9]"), ("error", "raised")),
        (draft(ADD, "1, 2", "1, 'a'", "2, 'a'", kind=Kind.INDUCTION), ("error", "")),
        (draft("def f(x):\n    return x + [VARIANT]"), ("nondeterministic", "")),
        (draft("def f(x):\n    CALLS.append(1)\n    return x + [len(CALLS)]"), ("nondeterministic", "")),
        (draft("def f(x):\n    return sorted(x)"), ("trivial", "identity")),
        (draft("def f(x, y):\n    return x, y", "1, 2"), ("trivial", "identity")),
        (draft("def f(x):\n    return 3", "x=[1]"), ("trivial", "constant")),
        (draft("def f(x):\n    return 3", "1", "2", "3", kind=Kind.INDUCTION), ("trivial", "constant")),
        (draft("def f(x):\n    return len(x) > 9", "[1, 2]"), ("trivial", "constant")),
        (draft("def f(x):\n    return len(x) > 2", "[1, 2]"), ("admitted", "")),
        (draft("def f(x):\n    return x is None", "None"), ("admitted", "")),
        (draft("def f(x):\n    return 3", "None"), ("trivial", "input ignored")),
        (draft("def f(x, *y):\n    x = 3\n    return [3]", "[]"), ("trivial", "input ignored")),
        (draft("def f(*, y):\n    return [y]", "y=None"), ("admitted", "")),
        (draft(QUOTED, '"abc"', kind=Kind.ABDUCTION), ("leak", "input in program")),
        (draft(QUOTED, '"abc"', kind=Kind.DEDUCTION), ("admitted", "")),
        (draft(QUOTED.replace("'", '"'), "x='abc'", kind=Kind.ABDUCTION), ("leak", "input in program")),
        (draft(TOLD, "[1, 2]"), ("leak", "output in comment")),
        (draft(TOLD, "[3, 2]"), ("admitted", "")),
        (draft(TOLD.replace("# ", "x = x or "), "[1, 2]"), ("admitted", "")),
        (draft("def f(x):\n    return x + 12", "12", kind=Kind.ABDUCTION), ("admitted", "")),
    ],
)  # fmt: skip
def test_every_reason(proposal: Draft, expected: tuple[str, str]):
    assert outcome(proposal, forbidden_modules=("os",)) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("It joins its arguments.", ("admitted", "")),
        ("def f(...)", ("leak", "code in message")),
        ("a lambda", ("leak", "code in message")),
        ("It does `return a + b`.", ("leak", "program in message")),
        ("It does: return\na  +b", ("leak", "program in message")),
        ("Such as 'cdcd'.", ("leak", "output in message")),
        ("Such as 'abab'.", ("admitted", "")),
        ("Such as 3.", ("admitted", "")),
    ],
)
def test_messages_may_not_leak(message: str, expected: tuple[str, str]):
    inputs = ("'ab', 'ab'", "1, 2", "'cd', 'cd'", "2, 2")
    assert outcome(draft(ADD, *inputs, kind=Kind.INDUCTION, message=message)) == expected


def test_duplicates_by_program_input_and_behaviour():
    renamed = "def f(list_):\n    # again\n    out = list_[::-1]\n    return out + [7]"
    same = "def f(xs):\n    return list(reversed(xs)) + [7]"
    first = draft(REVERSE, "[1, 2]")
    assert outcome(first, draft(renamed, "[1,2]")) == ("duplicate", "task")
    assert outcome(first, draft(same, "[1, 2]")) == ("duplicate", "behaviour")
    assert outcome(first, draft(REVERSE, "[1, 3]")) == ("admitted", "")
    assert outcome(first, draft(REVERSE, "[1, 2]", kind=Kind.ABDUCTION)) == ("admitted", "")
    [verdict] = admit(first)
    assert outcome(draft(renamed), known=verdict.fingerprint.__eq__) == ("duplicate", "task")
    assert outcome(draft(same), known=verdict.fingerprint.__eq__) == ("admitted", "")


def test_of_drafts_from_several_screenings_the_first_proved_stays():
    renamed = "def f(a):\n    b = a[::-1]\n    return b + [7]"
    gate = Gate(GateLimits())
    early = gate.screen([draft(REVERSE), draft("x = (")])
    late = gate.screen([draft(ADD, "1, 2"), draft(renamed), draft(renamed)])
    together = [*late, *early]
    asked = [execution for candidate in together for execution in candidate.executions]
    verdicts = gate.prove(together, run_here(asked))
    assert [(v.draft, v.reason, v.detail) for v in verdicts] == [
        (draft(ADD, "1, 2"), "admitted", ""),
        (draft(renamed), "admitted", ""),
        (draft(renamed), "duplicate", "task"),
        (draft(REVERSE), "duplicate", "behaviour"),
        (draft("x = ("), "parse", "program:syntax"),
    ]
    assert [len(candidate.executions) for candidate in together] == [3, 3, 0, 3, 0]


def test_scant_behaviour_names_no_program():
    """Both take None alone, so nothing shows that they differ elsewhere."""
    one, two = "def f(x):\n    return [x]", "def f(x):\n    return [x] * 1"
    assert [v.reason for v in admit(draft(one, "None"), draft(two, "None"))] == ["admitted", "admitted"]


def test_the_held_out_probe_stays_out():
    held_out = frozenset({program_key("def f(a):\n    b = a[::-1]\n    return b + [7]")})
    assert outcome(draft(REVERSE), held_out=held_out) == ("held_out", "")
    assert outcome(draft(ADD, "1, 2"), held_out=held_out) == ("admitted", "")


def test_one_batch_of_executions_with_every_variant():
    asked: list[Execution] = []

    def execute(executions: Sequence[Execution]) -> list[Observation]:
        asked.extend(executions)
        return run_here(executions)

    admit(
        draft(REVERSE),
        draft("x = ("),
        draft(ADD, "1, 2", "2, 3", "4, 5", kind=Kind.INDUCTION),
        execute=execute,
        variants=3,
    )
    of_reverse = [e for e in asked if e.program == REVERSE]
    assert [(e.variant, e.inputs) for e in of_reverse] == [
        *((v, ("[1, 2]", "[1, 2]")) for v in (2, 1, 0)),
        (0, mutate.mutations("[1, 2]")),
    ]
    assert [(e.variant, e.inputs) for e in asked if e.program == ADD] == [
        (v, ("1, 2", "2, 3", "4, 5", "1, 2")) for v in (2, 1, 0)
    ]
    assert len(asked) == 7
    assert admit(draft("x = ("), execute=lambda executions: [])[0].reason == "parse"


@pytest.mark.parametrize("status", ["error", "timeout", "memory", "crash", "output", "refused", "infra"])
def test_what_the_executor_reports_is_the_reason(status: str):
    def execute(executions: Sequence[Execution]) -> list[Observation]:
        return [Observation(status, (), "why") if e.variant else run_here([e])[0] for e in executions]

    assert outcome(draft(REVERSE), execute=execute) == (status, "why")


def test_a_probe_that_does_not_end_harms_nobody():
    def execute(executions: Sequence[Execution]) -> list[Observation]:
        probes = mutate.mutations("[1, 2]")
        return [Observation("timeout", ()) if e.inputs == probes else run_here([e])[0] for e in executions]

    assert outcome(draft(REVERSE), execute=execute) == ("admitted", "")


def test_missing_results_are_never_the_proposers_fault():
    assert outcome(draft(REVERSE), execute=lambda es: [Observation("ok", ()) for _ in es]) == (
        "infra",
        "outputs missing",
    )
    with pytest.raises(ValueError, match="3 executions gave 0"):
        admit(draft(REVERSE), execute=lambda es: [])


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("nan", ("output", "output:name")),
        ("<object at 0x7f>", ("output", "output:character")),
        ("[2,  1, 7]", ("admitted", "")),
    ],
)
def test_outputs_are_not_believed(output: str, expected: tuple[str, str]):
    """An executor that passes on what is no literal, or a literal in another spelling."""

    def execute(executions: Sequence[Execution]) -> list[Observation]:
        main = ("[1, 2]", "[1, 2]")
        return [
            Observation("ok", (output, output)) if e.inputs == main else run_here([e])[0] for e in executions
        ]

    assert outcome(draft(REVERSE), execute=execute) == expected


def test_limits_are_checked():
    with pytest.raises(ValueError):
        Gate(GateLimits(variants=1))


def test_hash_order_is_found_in_real_interpreters():
    words = "def f(x):\n    return list(set(x.split())) + [x]"
    text = "'" + " ".join(chr(97 + i) * 3 for i in range(12)) + "'"
    gate = Gate(GateLimits())
    with open_executor("process", workers=1) as executor:

        def execute(executions: Sequence[Execution]) -> list[Observation]:
            results = executor.run([Job(e.program, e.inputs, Limits(), e.variant) for e in executions])
            return [Observation(r.status.value, r.outputs, r.error) for r in results]

        verdicts = gate.admit([draft(words, text), draft(words.replace("list(", "sorted("), text)], execute)
    assert [v.reason for v in verdicts] == ["nondeterministic", "admitted"]


literals = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.frozensets(st.integers(), max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(literals, max_size=3))
def test_mutations_are_canonical_distinct_and_of_the_same_types(values):
    text = judge.render_call(tuple(values), {})
    found = mutate.mutations(text)
    assert found == mutate.mutations(text)
    assert len({text, *found}) == len(found) + 1
    for mutation in found:
        assert judge.arguments(mutation) == mutation
        moved, _ = judge.call(mutation)
        assert [type(v) for v in moved] == [type(v) for v in values]


def test_mutations_by_rule():
    assert mutate.mutations("[1, 2], 'az9 '") == (
        "[2, 3], 'ba0 '",
        "[2], ' 9z'",
        "[1, 2, 3], 'az9  '",
        "[], ''",
    )
    assert mutate.mutations("n=100, flag=True") == (
        "n=101, flag=False",
        "n=50, flag=True",
        "n=103, flag=True",
        "n=10, flag=False",
    )
    assert mutate.mutations("None") == ()
    assert mutate.mutations("9" * 4300) == ("4" + "9" * 4299, "9" * 4299)


def test_the_sole_value_of_a_call():
    assert trivial.sole_value("x='a'") == "'a'"
    assert trivial.sole_value("(1, 2)") == "(1, 2)"
    assert trivial.sole_value("1, 2") is None
