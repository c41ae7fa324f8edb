"""The guest side of the sandbox: the text it writes for a value, and what its code may import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azrl.executor.guest import guest_canonical
from azrl.tasks import judge

SANDBOX = Path(__file__).resolve().parents[2] / "sandbox"

atoms = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.binary(max_size=8)
)  # fmt: skip
hashable = st.recursive(
    atoms, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=6
)
values = st.recursive(
    atoms | st.sets(hashable, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(hashable, inner, max_size=3)
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(values)
def test_guest_text_is_the_value(value: object) -> None:
    text = guest_canonical().canonical(value, 100_000)
    assert judge.canonical(text, max_chars=100_000) == judge.render(value)


@settings(max_examples=200, deadline=None)
@given(values, st.integers(0, 60))
def test_guest_text_keeps_its_bound(value: object, bound: int) -> None:
    guest = guest_canonical()
    full = guest.canonical(value, 100_000)
    if len(full) <= bound:
        assert guest.canonical(value, bound) == full
    else:
        with pytest.raises(guest.TooLarge):
            guest.canonical(value, bound)


def test_guest_code_imports_nothing_but_the_standard_library() -> None:
    own = {path.stem for path in SANDBOX.glob("*.py")}
    for path in SANDBOX.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names | own


def test_after_the_holes_are_filled_new_objects_lie_side_by_side() -> None:
    """A child then writes to few pages. Run in an interpreter of its own, with the holes that imports leave."""
    script = """
import subprocess
import sys
sys.path.insert(0, sys.argv[1])
import decimal, json, settle
kept = settle.fill_holes()
sizes = range(64, 513, 16)
new = {size: [bytes(size - sys.getsizeof(b"")) for _ in range(4)] for size in sizes}
print(sum(id(b) - id(a) == size for size in sizes for a, b in zip(new[size], new[size][1:])))
print(sum(map(sys.getsizeof, kept)) < 4 << 20)
"""
    command = [sys.executable, "-S", "-c", script, str(SANDBOX)]
    side_by_side, small = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(side_by_side) >= 80  # of 87: the loop itself takes a block now and then
    assert small == "True"
