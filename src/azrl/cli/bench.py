"""`python main.py bench [NAME [arguments]]`: run a benchmark of benchmarks/, or list them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from azrl.cli.arguments import CHECKOUT
from azrl.config.errors import closest
from azrl.errors import UserError


def run(argv: Sequence[str]) -> int:
    """Without a name, list; with one, run that script in a process of its own and return its exit code."""
    folder = CHECKOUT / "benchmarks"
    scripts = {path.stem: path for path in sorted(folder.glob("*.py"))}
    if not argv or argv[0] in ("-h", "--help"):
        print("python main.py bench NAME [arguments]\n")
        for name, path in scripts.items():
            print(f"  {name:<16} {_first_line(path)}")
        return 0
    if not scripts:
        raise UserError(f"no benchmarks in {folder}: they come with a checkout of the repository")
    name, *arguments = argv
    if name not in scripts:
        near = closest(name, scripts)
        guess = f", did you mean {near}?" if near else f"; there are: {', '.join(scripts)}"
        raise UserError(f"no benchmark {name!r}{guess}")
    paths = [str(CHECKOUT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(
        [sys.executable, str(scripts[name]), *arguments], env=environment, check=False
    ).returncode


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
