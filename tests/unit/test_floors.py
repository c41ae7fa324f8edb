"""The shape of the house: floors do not lean on one another, light parts stay light, files stay short."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "azrl"
FLOORS = ("executor", "engine", "buffer", "curriculum", "rl", "tasks")
FOLDERS = ("src", "sandbox", "utils", "tests", "benchmarks", "deploy")
CODE = [ROOT / "main.py", *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))]


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions; relative imports are made absolute."""
    package = path.relative_to(ROOT / "src").parent.parts if path.is_relative_to(ROOT / "src") else ()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("floor", FLOORS)
def test_floors_do_not_import_one_another(floor: str) -> None:
    others = [f"azrl.{other}" for other in FLOORS if other not in (floor, "tasks")]
    others += ["azrl.selfplay", "azrl.cli", "azrl.evals"]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (PACKAGE / floor).rglob("*.py")
        for name in imports(path)
        if any(name == other or name.startswith(f"{other}.") for other in others)
    ]
    assert wrong == []


def test_the_guest_side_uses_the_standard_library_alone() -> None:
    guests = sorted((ROOT / "sandbox").rglob("*.py"))
    own = {path.stem for path in guests} | {"sandbox"}
    wrong = [
        f"{path.name} imports {name}"
        for path in guests
        for name in imports(path)
        if name.split(".")[0] not in sys.stdlib_module_names | own
    ]
    assert guests
    assert wrong == []


@pytest.mark.parametrize(
    "module", ["config", "curriculum", "executor", "tasks", "cli", "cli.train", "preflight"]
)
def test_light_parts_import_no_torch(module: str) -> None:
    script = f"import sys, azrl.{module}; sys.exit('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_no_file_is_over_400_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in CODE
        if (count := path.read_text("utf-8").count("\n")) > 400
    }
    assert long == {}
