"""Where settings come from: YAML files, the environment and the command line, each setting with its place.

A source becomes a flat list of settings, `("training", "learning_rate") = 1e-6 at config/cpu.yaml:12`.
Flat settings merge by replacing and keep their place through the merge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Key = tuple[str, ...]
IsSection = Callable[[Key], bool]
ENV_PREFIX = "AZRL__"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and where it was given (`config/cpu.yaml:12`, `environment AZRL__...`, `--seed`)."""

    key: Key
    value: Any
    where: str

    @property
    def dotted(self) -> str:
        return ".".join(self.key)


@dataclass(frozen=True, slots=True)
class Source:
    """The settings of one file, one override, or the whole environment, and what could not be read in it."""

    settings: tuple[Setting, ...] = ()
    problems: tuple[str, ...] = ()


class Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2: `1e-6` is a number, `yes` and `010` and dates are text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for tag, pattern, first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F_]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), first)


def read_file(path: str | Path, is_section: IsSection) -> Source:
    """The settings of a YAML file; an empty file sets nothing."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return Source(problems=(f"{path}: no such file{_presets_beside(Path(path))}",))
    except UnicodeDecodeError as e:
        return Source(problems=(f"{path}: not UTF-8 text (byte {e.start})",))
    except OSError as e:
        return Source(problems=(f"{path}: cannot be read: {e.strerror}",))
    return read_text(text, lambda line: f"{path}:{line}", is_section)


def read_text(text: str, place: Callable[[int], str], is_section: IsSection, prefix: Key = ()) -> Source:
    """The settings of YAML text below `prefix`; `place` turns a line number into what messages show."""
    loader = None
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        if node is None and not prefix:
            return Source()
        if node is None:
            return Source((Setting(prefix, None, place(1)),))
        problems = list(_bad_keys(node, place, set()))
        if problems:
            return Source(problems=tuple(problems))
        if not isinstance(node, yaml.MappingNode) and not prefix:
            problem = f"the top level is a {_kind(node)}; want sections such as `training:`"
            return Source(problems=(f"{place(node.start_mark.line + 1)}: {problem}",))
        return Source(
            tuple(_flatten(loader, node, prefix, place(node.start_mark.line + 1), place, is_section))
        )
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else 1
        return Source(problems=(f"{place(line)}: {_yaml_trouble(e)}",))
    except yaml.reader.ReaderError as e:
        line = text.count("\n", 0, e.position) + 1
        return Source(
            problems=(f"{place(line)}: unreadable YAML: the character U+{e.character:04X} is not allowed",)
        )
    except (ValueError, RecursionError) as e:
        reason = "nested too deeply" if isinstance(e, RecursionError) else str(e)
        return Source(problems=(f"{place(1)}: unreadable YAML: {reason}",))
    finally:
        if loader is not None:
            loader.dispose()


def read_override(text: str, is_section: IsSection) -> Source:
    """`dotted.key=value` from the command line; the value is YAML."""
    dotted, sep, value = text.partition("=")
    key = tuple(dotted.strip().split("."))
    if not sep or not all(key):
        return Source(problems=(f"argument {text!r}: want key=value, such as training.learning_rate=1e-5",))
    return read_text(value, lambda line: f"argument {text!r}", is_section, key)


def read_environment(environ: Mapping[str, str], is_section: IsSection) -> Source:
    """`AZRL__SECTION__KEY=value` variables, in order of name; the value is YAML."""
    settings: list[Setting] = []
    problems: list[str] = []
    for name in sorted(n for n in environ if n.startswith(ENV_PREFIX)):
        key = tuple(name[len(ENV_PREFIX) :].lower().split("__"))

        def place(line: int, name: str = name) -> str:
            return f"environment {name}"

        source = read_text(environ[name], place, is_section, key)
        settings += source.settings
        problems += source.problems
    return Source(tuple(settings), tuple(problems))


def _flatten(
    loader: Loader, node: yaml.Node, key: Key, where: str, place: Callable[[int], str], is_section: IsSection
) -> Iterator[Setting]:
    if not (isinstance(node, yaml.MappingNode) and is_section(key)):
        yield Setting(key, loader.construct_document(node), where)
        return
    loader.flatten_mapping(node)
    last = {name.value: (name, value) for name, value in node.value}  # an explicit key beats a merged one
    for name, value in last.values():
        yield from _flatten(
            loader, value, (*key, name.value), place(name.start_mark.line + 1), place, is_section
        )


def _bad_keys(node: yaml.Node, place: Callable[[int], str], seen_nodes: set[int]) -> Iterator[str]:
    if id(node) in seen_nodes:
        return
    seen_nodes.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _bad_keys(item, place, seen_nodes)
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                yield f"{place(line)}: a key must be a plain word, got a {_kind(name)}"
            elif name.value in lines and name.value != "<<":
                yield f"{place(line)}: {name.value}: duplicate key, first given on line {lines[name.value]}"
            else:
                lines[name.value] = line
            yield from _bad_keys(value, place, seen_nodes)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "list"
    return "mapping" if isinstance(node, yaml.MappingNode) else "single value"


def _yaml_trouble(e: yaml.MarkedYAMLError) -> str:
    problem = e.problem or str(e.context)
    if "'\\t'" in problem:
        return "unreadable YAML: a tab stands where YAML wants spaces"
    if isinstance(e, yaml.composer.ComposerError) and "another document" in problem:
        return "unreadable YAML: a second document (`---`) starts here; want one"
    return f"unreadable YAML: {problem}" + (f" ({e.context})" if e.context and e.context != problem else "")


def _presets_beside(path: Path) -> str:
    folder = path.parent
    presets: Iterable[Path] = sorted(folder.glob("*.y*ml")) if folder.is_dir() else ()
    names = ", ".join(str(p) for p in presets)
    return f"; there are {names}" if names else ""
