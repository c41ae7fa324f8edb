"""`python main.py report RUN`: write the run's report."""

from __future__ import annotations

from collections.abc import Sequence

from azrl.cli.arguments import Parser
from azrl.cli.resume import run_folder
from azrl.errors import UserError


def run(argv: Sequence[str]) -> int:
    """Print where the report was written."""
    parser = Parser("report", "RUN", "Write one self-contained report.html into a run's folder.")
    _, words = parser.parse_split(argv)
    if len(words) != 1:
        parser.error("want one run's folder" + (f", got {len(words)}" if words else ""))
    folder = run_folder(words[0])
    if not folder.is_dir():
        raise UserError(f"no such run: {folder}")

    from azrl.runs.report import write_report

    print(write_report(folder))
    return 0
