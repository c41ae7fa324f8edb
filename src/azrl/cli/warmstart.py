"""`python main.py warmstart`: build the tiny model."""

from __future__ import annotations

from collections.abc import Sequence

from azrl.cli.arguments import Parser, flag_settings, load


def run(argv: Sequence[str]) -> int:
    """The configuration's flags are read here; all other words go to the warm start itself."""
    parser = Parser(
        "warmstart",
        "[--config FILE] [--seed S] [key=value ...] [-- options of the warm start]",
        "Build the tiny model from nothing by supervised training on generated programs.",
        "`python main.py warmstart -- --help` lists the warm start's own options.",
    )
    parser.add_config("seed")
    words = list(argv)
    split = words.index("--") if "--" in words else len(words)
    options, overrides = parser.parse_split(words[:split])
    loaded = load(options.config or [], overrides, flag_settings(options))

    from azrl.models.warmstart import main

    return main(loaded.config, words[split + 1 :])
