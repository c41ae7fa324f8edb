"""`python main.py eval RUN_OR_MODEL`: measure on the frozen probe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from azrl.cli.arguments import Parser, flag_settings, load
from azrl.cli.resume import RESOLVED, run_folder
from azrl.errors import UserError


def run(argv: Sequence[str]) -> int:
    """A run is measured under its own configuration unless `--config` names another."""
    parser = Parser(
        "eval",
        "RUN_OR_MODEL [--config FILE] [--seed S] [key=value ...]",
        "Measure a run's newest checkpoint, or a model, on the frozen probe.",
        "RUN_OR_MODEL: a run's folder or name, a model's folder, a hub id, or `tiny`. probe.items and probe.samples "
        "set the size.",
    )
    parser.add_config("seed")
    options, words = parser.parse_split(argv)
    targets = [word for word in words if "=" not in word]
    if len(targets) != 1:
        parser.error("want one run or model" + (f", got {len(targets)}" if targets else ", such as `tiny`"))
    folder = run_folder(targets[0])
    own = folder / RESOLVED
    target = str(folder) if own.is_file() else targets[0]
    if Path(target).parts[:1] == ("runs",) and not Path(target).is_dir():
        # As a hub id it would be asked for over and over, for a minute where there is no network.
        raise UserError(f"no such run: {target}")
    files = options.config or ([own] if own.is_file() else [])
    loaded = load(files, [word for word in words if "=" in word], flag_settings(options))

    from azrl.evals import main

    return main(loaded.config, target)
