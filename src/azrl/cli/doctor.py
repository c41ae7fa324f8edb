"""`python main.py doctor`: what this machine has, and which presets will run."""

from __future__ import annotations

from collections.abc import Sequence

from azrl.cli.arguments import Parser


def run(argv: Sequence[str]) -> int:
    """Always 0: a machine that lacks something is no failure of the doctor."""
    parser = Parser("doctor", "", "Say what this machine has and which presets will run.")
    _, words = parser.parse_split(argv)
    if words:
        parser.error(f"takes no arguments, got {words[0]!r}")

    from azrl.doctor import examine

    examine()
    return 0
