"""The executor's contract, on both backends: statuses, claims, refusals, and the real data of others."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from azrl.errors import UserError
from azrl.executor import Executor, Job, Limits, Status, open_executor
from azrl.executor.container.options import Options
from azrl.executor.crew import PoolSettings
from azrl.executor.open import _open_process
from azrl.tasks import judge

ROOT = Path(__file__).resolve().parents[2]
CRUXEVAL = ROOT.parent / "shared" / "data" / "cruxeval-first400.jsonl"


@pytest.fixture(scope="module", params=["process", "mock"])
def executor(request: pytest.FixtureRequest):
    with open_executor(request.param, workers=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def process():
    with open_executor("process", workers=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def mock():
    with open_executor("mock") as opened:
        yield opened


def one(executor: Executor, program: str, *inputs: str, **limits: object):
    [result] = executor.run([Job(program, inputs or ("",), Limits(**limits))])  # type: ignore[arg-type]
    return result


def test_the_example_of_the_contract(executor: Executor) -> None:
    job = Job(program="def f(x, y=1):\n    return [x] * y", inputs=["'a', 2", "3"], limits=Limits(cpu_s=1.0))
    [result] = executor.run([job])
    assert result.status is Status.OK
    assert result.outputs == ("['a', 'a']", "[3]")
    assert result.errors == ("", "")
    assert result.error == ""
    assert result.cpu_ms > 0


@pytest.mark.parametrize(
    ("program", "status", "error"),
    [
        ("def f(:", Status.ERROR, "SyntaxError"),
        ("x = 1", Status.ERROR, "NoFunction"),
        ("f = 3", Status.ERROR, "NoFunction"),
        ("def f():\n    return 1 // 0", Status.ERROR, "ZeroDivisionError"),
        ("1 // 0\ndef f():\n    return 1", Status.ERROR, "ZeroDivisionError"),
        ("def f(x):\n    return x", Status.ERROR, "TypeError"),
        ("def f():\n    return f()", Status.ERROR, "RecursionError"),
        ("class Own(Exception):\n    pass\ndef f():\n    raise Own", Status.ERROR, "Own"),
        ("def f():\n    return f", Status.OUTPUT, "not_literal"),
        ("def f():\n    return float('nan')", Status.OUTPUT, "not_literal"),
        ("def f():\n    return [1e308 * 10]", Status.OUTPUT, "not_literal"),
        ("class L(list):\n    pass\ndef f():\n    return L()", Status.OUTPUT, "not_literal"),
        ("def f():\n    return (x for x in [1])", Status.OUTPUT, "not_literal"),
        ("def f():\n    return 'x' * 9000", Status.OUTPUT, "too_large"),
        ("def f():\n    x = []\n    x.append(x)\n    return x", Status.OUTPUT, "too_large"),
        ("def f():\n    x = 1\n    for _ in range(60): x = [x, x]\n    return x", Status.OUTPUT, "too_large"),
        ("def f():\n    return 10 ** 5000", Status.OUTPUT, "too_large"),
        ("def f():\n    while True:\n        pass", Status.TIMEOUT, None),
        ("while True:\n    pass\ndef f():\n    return 1", Status.TIMEOUT, None),
        ("def f():\n    while 1:\n        try: pass\n        except: pass", Status.TIMEOUT, None),
        ("def f():\n    return [0] * 10 ** 12", Status.MEMORY, "MemoryError"),
        ("def f():\n    return 'x' * 10 ** 12", Status.MEMORY, "MemoryError"),
    ],
)  # fmt: skip
def test_status_and_reason(executor: Executor, program: str, status: Status, error: str | None) -> None:
    result = one(executor, program, cpu_s=0.2)
    assert result.status is status
    assert result.outputs == (None,)
    if error is not None:
        assert (result.error, result.errors) == (error, (error,))
    assert one(executor, "def f():\n    return 7").outputs == ("7",)


@pytest.mark.parametrize(
    "text", ["__import__('os')", "f()", "1) or (2", "x", "*[1]", "**{}", "[1, 2", "lambda: 1", "1 + 1", "1\0"]
)
def test_an_input_that_is_no_literal_never_runs(executor: Executor, text: str) -> None:
    program = "def f(*a, **k):\n    return 1"
    refused = one(executor, program, text)
    assert (refused.status, refused.outputs, refused.error) == (Status.REFUSED, (None,), "not_literal")
    mixed = one(executor, program, "1", text, "2, k=3")
    assert mixed.status is Status.OK
    assert mixed.outputs == ("1", None, "1")
    assert mixed.errors == ("", "not_literal", "")


@pytest.mark.parametrize(
    "job",
    [
        Job("def f():\n    return 1", ()),
        Job("def f():\n    return 1", "ab"),
        Job("def f():\n    return 1", (1,)),  # type: ignore[arg-type]
        Job(None, ("",)),  # type: ignore[arg-type]
        Job("def f():\n    return 1\n" + "#" * 1_000_000, ("",)),
        Job("def f():\n    return 1", ("",) * 10_001),
        Job("def f():\n    return 1", ("",), variant=-1),
        *(
            Job("def f():\n    return 1", ("",), limits)
            for limits in (
                Limits(cpu_s=0), Limits(cpu_s=-1), Limits(cpu_s=float("nan")), Limits(cpu_s=float("inf")),
                Limits(wall_s=0), Limits(memory_mb=0), Limits(output_chars=0), Limits(source_chars=0),
            )
        ),
    ],
)  # fmt: skip
def test_a_malformed_job_is_refused_and_others_run(executor: Executor, job: Job) -> None:
    bad, good = executor.run([job, Job("def f():\n    return 1", ("",))])
    assert bad.status is Status.REFUSED
    assert bad.error
    assert good.outputs == ("1",)


def test_one_literal_is_enough_for_ok(executor: Executor) -> None:
    result = one(executor, "def f(x):\n    return 1 / x if x < 9 else f", "0", "2", "9")
    assert result.status is Status.OK
    assert result.outputs == (None, "0.5", None)
    assert result.errors == ("ZeroDivisionError", "", "not_literal")


def test_each_input_has_a_fresh_namespace(executor: Executor) -> None:
    program = "seen = []\ndef f(x, acc=[]):\n    seen.append(x)\n    acc.append(x)\n    return seen, acc"
    assert one(executor, program, "1", "2").outputs == ("([1], [1])", "([2], [2])")


def test_outputs_are_canonical(executor: Executor) -> None:
    value = "{'b': {3, 1, 2}, 'a': (1,), 'c': frozenset(), 'd': [-0.5, 1+2j, b'x', None, True]}"
    program = f"def f():\n    return {value}"
    expected = "{'b': {1, 2, 3}, 'a': (1,), 'c': frozenset(), 'd': [-0.5, (1+2j), b'x', None, True]}"
    assert one(executor, program).outputs == (expected,)


def test_results_come_in_job_order(executor: Executor) -> None:
    jobs = [Job(f"def f(x):\n    return x + {i}", ("0", "1"), variant=i % 2) for i in range(60)]
    assert [r.outputs for r in executor.run(jobs)] == [(str(i), str(i + 1)) for i in range(60)]


def test_ten_thousand_inputs(executor: Executor) -> None:
    result = one(executor, "def f(x):\n    return x * 2", *map(str, range(10_000)), cpu_s=30.0)
    assert result.outputs == tuple(str(2 * i) for i in range(10_000))


@pytest.mark.parametrize(
    "program", ["x = '\0'", "def f():\n    return '\ud800'", "\ufeff", "", "(" * 500, "-" * 20_000 + "1"]
)
def test_strange_source_is_the_programs_own_error(executor: Executor, program: str) -> None:  # fmt: skip
    assert one(executor, program).status in (Status.ERROR, Status.MEMORY)
    assert one(executor, "def f():\n    return '\\ud800'").outputs == ("'\\ud800'",)


def test_threads_share_an_executor(executor: Executor) -> None:
    found: dict[int, list[str | None]] = {}

    def work(k: int) -> None:
        jobs = [Job(f"def f(x):\n    return x * {k}", (str(i),)) for i in range(40)]
        found[k] = [result.outputs[0] for result in executor.run(jobs)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {k: [str(i * k) for i in range(40)] for k in range(4)}


def test_variants_have_their_own_hash_seeds_and_servers_keep_them(process: Executor) -> None:
    program = "def f():\n    return hash('some text')"
    jobs = [Job(program, ("",), variant=variant) for variant in (0, 0, 0, 0, 1, 1, 1, 1)]
    outputs = [result.outputs[0] for result in process.run(jobs)]
    assert len(set(outputs[:4])) == len(set(outputs[4:])) == 1
    assert outputs[0] != outputs[4]


def cruxeval() -> list[dict[str, str]]:
    if not CRUXEVAL.exists():
        pytest.skip(f"no {CRUXEVAL.name} beside the checkout")
    return [json.loads(line) for line in CRUXEVAL.read_text().splitlines()]


def test_cruxeval_gives_the_recorded_outputs(process: Executor) -> None:
    """An input that is an expression goes into the program, where the recorded run had it too."""
    rows = cruxeval()
    jobs = []
    for row in rows:
        try:
            judge.arguments(row["input"])
            jobs.append(Job(row["code"], (row["input"],)))
        except judge.NotLiteral:
            jobs.append(Job(f"{row['code']}\ng = f\ndef f():\n    return g({row['input']})", ("",)))
    wrong = [
        (row["id"], result)
        for row, result in zip(rows, process.run(jobs), strict=True)
        if result.status is not Status.OK or not judge.equal(result.outputs[0] or "", row["output"])
    ]
    assert not wrong
    assert sum("\ng = f\n" in job.program for job in jobs) == 6


def test_mock_agrees_with_cruxeval_wherever_it_runs(mock: Executor) -> None:
    rows = cruxeval()
    results = mock.run([Job(row["code"], (row["input"],)) for row in rows])
    answered = [(row, r.outputs[0]) for row, r in zip(rows, results, strict=True) if r.outputs[0] is not None]
    assert len(answered) >= 385
    assert [row["id"] for row, output in answered if not judge.equal(output or "", row["output"])] == []


@pytest.mark.parametrize(
    "body",
    [
        "return 9 ** 9 ** 9",
        "return 1 << 10 ** 12",
        "return sum(range(10 ** 13))",
        "return 'x'.ljust(10 ** 10)",
        "return '%99999999d' % 1",
        "x = [0]\n    for _ in range(200):\n        x = x + x",
        "x = [0]\n    for _ in range(200):\n        x += x",
        "x = [0]\n    for _ in range(200):\n        x.extend(x)",
        "x = [0]\n    for _ in range(200):\n        x[0:0] = x",
        "x = [0]\n    for _ in range(200):\n        x = [*x, *x]",
        "x = 'ab'\n    for _ in range(200):\n        x = x.replace('a', x)",
        "x = 'ab'\n    for _ in range(200):\n        x = ''.join([x, x])",
        "x = 3\n    for _ in range(200):\n        x *= x",
        "import math\n    return math.factorial(10 ** 9)",
        "return len([0 for a in range(99999) for b in range(99999)])",
        "return sum(map(lambda x: sum(range(x)), range(99999)))",
    ],
)
def test_mock_bounds_growth(mock: Executor, body: str) -> None:
    result = one(mock, f"def f():\n    {body}")
    assert result.status in (Status.MEMORY, Status.TIMEOUT)
    assert result.cpu_ms < 3000


@pytest.mark.parametrize(
    "body",
    [
        "import os",
        "import re",
        "from builtins import open",
        "return open('/etc/passwd')",
        "return ().__class__",
        "return eval('1')",
        "return '{0.real}'.format(1)",
        "return str.format('{}', 1)",
        "return type('X', (), {})",
        "return getattr(1, 'real')",
    ],
)
def test_mock_refuses_what_leads_out(mock: Executor, body: str) -> None:
    assert one(mock, f"def f():\n    {body}").status is Status.ERROR


def test_mock_runs_ordinary_python(mock: Executor) -> None:
    program = """
from typing import List
import math
from collections import Counter, deque

class Point:
    def __init__(self, x: int) -> None:
        self.x = x
    def twice(self):
        return self.x * 2

def f(xs: List[int], k: int = 2) -> dict:
    print('hello', xs)
    counts: dict = {}
    for i, x in enumerate(xs):
        counts[x % k] = counts.get(x % k, 0)
        counts[x % k] += i
    a, *b = xs
    (c, d), e = (1, 2), 3
    total = 0
    def add(n):
        nonlocal total
        total += n
    for x in sorted(xs, key=lambda v: -v):
        add(x)
    q = deque(xs)
    q.append(1)
    gen = (v for v in zip(xs, reversed(xs)))
    text = f'{total:.2f}|{math.sqrt(16)}|' + 'a'.zfill(3) + '%s' % 3
    return {'c': counts, 'b': b, 'n': c + d + e, 't': text, 'p': Point(4).twice(), 'g': list(gen),
            'q': list(q), 'm': Counter(xs).most_common(1), 's': {v for v in xs if v},
            'any': any(v > 3 for v in xs)}
"""
    real: dict[str, object] = {}
    exec(program, real)  # our own text
    expected = real["f"]([3, 1, 4, 1])  # type: ignore[operator]
    assert one(mock, program, "[3, 1, 4, 1]").outputs == (judge.render(expected),)


def test_mock_refuses_a_real_model_unless_allowed() -> None:
    with pytest.raises(UserError, match="allow_unsafe_mock"):
        open_executor("mock", serves_real_model=True)
    with open_executor("mock", serves_real_model=True, allow_unsafe_mock=True) as opened:
        assert opened.name == "mock"


def test_unknown_backends_are_errors() -> None:
    with pytest.raises(UserError, match="no executor named 'nonsense'"):
        open_executor("nonsense")


def test_without_a_daemon_docker_is_an_error_and_auto_says_why_it_is_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere = Options(host="unix:///no/such.sock", workers=1)
    with pytest.raises(UserError, match=r"no Docker daemon at unix:///no/such\.sock"):
        open_executor("docker", container=nowhere)
    with open_executor("auto", workers=1, container=nowhere) as opened:
        assert opened.name == "process"
        assert "docker does not: no Docker daemon at unix:///no/such.sock" in opened.describe()["chosen"]
    monkeypatch.setattr("azrl.executor.open.sys.platform", "darwin")
    with pytest.raises(UserError, match="Linux"):
        _open_process(PoolSettings(1))


def test_missing_guest_code_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("azrl.executor.guest.__file__", str(tmp_path / "a" / "b" / "c" / "guest.py"))
    with pytest.raises(UserError, match="pip install -e"):
        open_executor("process")


def test_a_failing_self_check_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    hole = ("a made-up limit", Status.TIMEOUT, Job("def f():\n    return 1", ("",)))
    monkeypatch.setattr("azrl.executor.selfcheck._ATTACKS", (hole,))
    with pytest.raises(UserError, match=r"a made-up limit gave ok .* must give timeout"):
        open_executor("process", workers=1)


def test_a_closed_executor_says_so() -> None:
    opened = open_executor("process", workers=1)
    opened.close()
    opened.close()
    with pytest.raises(RuntimeError, match="closed"):
        opened.run([Job("def f():\n    return 1", ("",))])


def test_importing_loads_no_torch() -> None:
    code = (
        "import sys, azrl.executor, azrl.executor.mock, azrl.executor.process; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
