"""A configuration as YAML that loads back equal, with each setting's place beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from azrl.config.schema import Config
from azrl.config.source import Loader


class Dumper(yaml.SafeDumper):
    """Quotes text that any YAML version would read as something else."""


for first, resolvers in Loader.yaml_implicit_resolvers.items():
    for tag, pattern in resolvers:
        Dumper.add_implicit_resolver(tag, pattern, [first])


def to_yaml(config: Config, where: Mapping[str, str] | None = None) -> str:
    """Every setting, defaults included; `where` (dotted key to place) becomes comments."""
    return "\n".join(_lines(config.model_dump(mode="json"), "", where or {})) + "\n"


def inline(value: Any) -> str:
    """A value as YAML on one line, in ASCII: some other characters would be read back as line ends."""
    text = yaml.dump([value], Dumper=Dumper, default_flow_style=True, width=float("inf"))
    return text.strip()[1:-1]


def _lines(section: Mapping[str, Any], prefix: str, where: Mapping[str, str]) -> Iterator[str]:
    indent = "  " * prefix.count(".")
    for name, value in section.items():
        if isinstance(value, dict):
            yield f"{indent}{_key(name)}:"
            yield from _lines(value, f"{prefix}{name}.", where)
        else:
            place = where.get(prefix + name)
            yield f"{indent}{_key(name)}: {inline(value)}" + (f"  # {place}" if place else "")


def _key(name: str) -> str:
    """Settings are plain words; only the keys of a free mapping, such as arms, may need quotes."""
    plain = name.isidentifier() and name.casefold() not in ("true", "false", "null")
    return name if plain else inline(name)
