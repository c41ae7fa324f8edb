"""`python main.py ...`: train, or with `--dry-run` say what would be done."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from azrl.cli import VERBS
from azrl.cli.arguments import Parser, default_preset, flag_settings, load
from azrl.cli.resume import RESOLVED, find_run
from azrl.config import Loaded, load_config, to_yaml
from azrl.config.errors import closest
from azrl.errors import UserError
from azrl.preflight import choices, instead, missing


def run(argv: Sequence[str]) -> int:
    """Train; the exit code is training's."""
    parser = _parser()
    options, overrides = parser.parse_split(_resume_alone(argv))
    for word in overrides:
        if "=" not in word:
            parser.error(_stray(word))
    loaded, title = _load(options, overrides)
    if options.dry_run:
        print(to_yaml(loaded.config, loaded.where), end="")
        for name, choice in choices(loaded.config):
            print(f"# {name}: {choice}")
        return 0
    lacking = missing(loaded.config)
    if lacking:
        raise UserError(instead(title, lacking))

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from azrl.selfplay.sharded import train
    else:
        from azrl.selfplay.train import train

    command = ["python", "main.py", *argv]
    return train(loaded.config, resume=options.resume, checkpoint=options.checkpoint, command=command)


def _parser() -> Parser:
    verbs = "\n".join(f"  {verb:<10} {what}" for verb, what in VERBS.items())
    parser = Parser(
        "train",
        "[verb] [--config FILE] [--iterations N] [--resume [latest|STEP|RUN]] [--dry-run] [key=value ...]",
        "Teach a language model to reason by self-play.",
        f"verbs (first word; each has its own --help):\n{verbs}\n\n"
        "key=value sets any setting, such as training.learning_rate=1e-5; so does the environment,\n"
        "AZRL__TRAINING__LEARNING_RATE=1e-5. Strongest first: flags, key=value, environment, files.",
    )
    parser.add_config("iterations", "seed", "name", "heartbeat")
    parser.add_argument(
        "--resume", metavar="WHAT", help="go on: `latest` (or nothing), a step, or a run's name or folder"
    )
    parser.add_argument("--checkpoint", metavar="PATH", help="start from this checkpoint's folder")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the resolved settings and what would be used; make nothing",
    )
    return parser


def _resume_alone(argv: Sequence[str]) -> list[str]:
    """`--resume` without a value means `latest`, also before another option or `key=value`."""
    words = list(argv)
    for i, word in enumerate(words):
        after = words[i + 1] if i + 1 < len(words) else "-"
        if word == "--resume" and (after.startswith("-") or "=" in after):
            words[i] = "--resume=latest"
    return words


def _stray(word: str) -> str:
    if word in VERBS:
        return f"the verb comes first: python main.py {word} ..."
    if word.endswith((".yaml", ".yml")):
        return f"want --config {word}"
    near = closest(word, VERBS)
    return f"{word!r} is neither a verb nor key=value" + (f", did you mean {near}?" if near else "")


def _load(options: argparse.Namespace, overrides: Sequence[str]) -> tuple[Loaded, str]:
    """The configuration and how messages call it. When resuming, `paths.runs` and `run.name` name the run."""
    flags = flag_settings(options)
    if options.checkpoint is not None:
        if options.resume is not None:
            raise UserError("--resume and --checkpoint: give one of the two")
        if not Path(options.checkpoint).exists():
            raise UserError(f"--checkpoint: no such folder: {options.checkpoint}")
    files: list[str | Path] = list(options.config or [])
    if options.resume is not None:
        folder = find_run(options.resume, load_config(files, overrides, os.environ, flags).config)
        files = files or [folder / RESOLVED]
        flags["paths.runs"] = ("--resume", str(folder.parent))
        flags["run.name"] = ("--resume", folder.name)
        return load(files, overrides, flags), str(folder)
    files = files or [default_preset()]
    title = " with ".join(os.path.relpath(f) if Path(f).is_absolute() else str(f) for f in files)
    loaded = load(files, overrides, flags)
    if loaded.config.run.name is None:
        flags["run.name"] = (
            "made from the preset and the time",
            _new_name(files[-1], loaded.config.paths.runs),
        )
        loaded = load_config(files, overrides, os.environ, flags)
    return loaded, title


def _new_name(file: str | Path, runs: str) -> str:
    stem = time.strftime(f"{Path(file).stem}-%Y%m%d-%H%M%S")
    name, n = stem, 1
    while (Path(runs) / name).exists():
        n += 1
        name = f"{stem}-{n}"
    return name
