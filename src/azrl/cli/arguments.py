"""What the verbs share: flags, `key=value` overrides, and the configuration that they give."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from azrl.config import Loaded, load_config
from azrl.config.errors import closest

CHECKOUT = Path(__file__).resolve().parents[3]
"""The repository, where presets and benchmarks lie."""

FLAGS = {
    "iterations": ("--iterations", "run.iterations", "N", "steps in all, a resumed run's own included"),
    "seed": ("--seed", "run.seed", "S", "seed of every random draw"),
    "heartbeat": ("--heartbeat", "run.heartbeat_s", "S", "seconds between heartbeat lines"),
    "name": ("--name", "run.name", "NAME", "name of the run's folder"),
}
"""Flags that are short for a setting: flag, setting, placeholder, meaning."""


class Parser(argparse.ArgumentParser):
    """Takes options in full and in any order with `key=value`, and guesses at misspelt ones."""

    def __init__(self, verb: str, usage: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog="main.py" if verb == "train" else f"main.py {verb}",
            usage=f"%(prog)s {usage}",
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def add_config(self, *names: str) -> None:
        """`--config` and those of FLAGS that the verb knows."""
        config_help = "a YAML file; may be given several times, later ones win"
        self.add_argument("--config", metavar="FILE", action="append", help=config_help)
        for name in names:
            flag, key, metavar, meaning = FLAGS[name]
            self.add_argument(flag, metavar=metavar, help=f"{meaning} ({key})")

    def parse_split(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """The options and the plain words; an option that is not known is an error."""
        options, rest = self.parse_known_args(argv)
        for word in rest:
            if word.startswith("-") and word != "-":
                self.unknown(word)
        return options, rest

    def unknown(self, word: str) -> NoReturn:
        """End with what the option may have been."""
        name = word.split("=")[0]
        near = closest(name, [o for action in self._actions for o in action.option_strings])
        self.error(f"unknown option {name}" + (f", did you mean {near}?" if near else ""))


def flag_settings(options: argparse.Namespace) -> dict[str, tuple[str, Any]]:
    """The flags that were given, as `load_config` wants them."""
    given = vars(options)
    known = ((name, flag, key) for name, (flag, key, *_) in FLAGS.items())
    return {key: (flag, given[name]) for name, flag, key in known if given.get(name) is not None}


def load(
    files: Sequence[str | Path],
    overrides: Sequence[str],
    flags: Mapping[str, tuple[str, Any]],
) -> Loaded:
    """Load with this process's environment; notes on old names go to standard error."""
    loaded = load_config(files, overrides, os.environ, flags)
    for note in loaded.notes:
        print(note, file=sys.stderr)
    return loaded


def default_preset() -> Path:
    """`config/config.yaml` here, or the checkout's."""
    here = Path("config/config.yaml")
    return here if here.exists() else CHECKOUT / here
