"""From files, environment and command line to one checked configuration.

Precedence, weakest first: defaults, files in the order given, environment, `key=value`, flags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azrl.config.aliases import translate
from azrl.config.check import canonical_case, is_section, unknown, validate
from azrl.config.errors import ConfigError, show
from azrl.config.schema import Config
from azrl.config.source import Key, Setting, Source, read_environment, read_file, read_override


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, where each setting that is not a default came from, and notes on old names."""

    config: Config
    where: Mapping[str, str]
    notes: tuple[str, ...]


def load_config(
    files: Sequence[str | Path] = (),
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, tuple[str, Any]] | None = None,
) -> Loaded:
    """Read, translate, merge and check all sources.

    `environ` None means no environment; `flags` maps a dotted key to (name of the flag, value).
    Raises ConfigError with every problem of every source.
    """
    sources = [read_file(path, is_section) for path in files]
    sources.append(read_environment(environ or {}, is_section))
    sources += [read_override(text, is_section) for text in overrides]
    for dotted, (flag, value) in (flags or {}).items():
        sources.append(Source((Setting(tuple(dotted.split(".")), value, flag),)))

    merged: dict[Key, Setting] = {}
    notes: list[str] = []
    problems: list[str] = []
    for source in sources:
        problems += source.problems
        settings, more_notes, more_problems = translate([s for s in source.settings if not _is_empty(s)])
        notes += more_notes
        problems += more_problems
        given: dict[Key, Setting] = {}
        for setting in settings:
            clash = given.get(setting.key)
            problem = unknown(setting)
            if problem:
                problems.append(problem)
            elif clash and clash.value != setting.value:
                problems.append(
                    f"{setting.where}: {setting.dotted}: set to {show(setting.value)} here and to "
                    f"{show(clash.value)} at {clash.where}"
                )
            else:
                given[setting.key] = canonical_case(setting)
        merged |= given
    config, wrong = validate({key: s for key, s in merged.items() if not is_section(key)})
    problems += [line for _, line in wrong]
    if problems or config is None:
        raise ConfigError(_in_order(problems, [str(f) for f in files]))
    return Loaded(config, {s.dotted: s.where for s in merged.values()}, tuple(notes))


def _is_empty(setting: Setting) -> bool:
    """A section without keys, such as `training:` with all its lines commented out, sets nothing."""
    return setting.value is None and is_section(setting.key)


def _in_order(problems: Sequence[str], files: Sequence[str]) -> list[str]:
    """File by file and line by line; then the environment and the command line as they came."""

    def rank(problem: str) -> tuple[int, int]:
        for i, name in enumerate(files):
            if problem.startswith(f"{name}:"):
                line = problem[len(name) + 1 :].split(":", 1)[0]
                return i, int(line) if line.isdigit() else 0
        return len(files), 0

    return sorted(dict.fromkeys(problems), key=rank)
