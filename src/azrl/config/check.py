"""Settings against the schema: each problem is one line with its place and a guess at what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from azrl.config.aliases import OLD_KEYS, OLD_SECTIONS
from azrl.config.errors import closest, show
from azrl.config.schema import Config
from azrl.config.source import Key, Setting
from azrl.curriculum import build_curriculum


def is_section(key: Key) -> bool:
    """Whether a mapping at this key holds settings (in today's schema or an older one), not a value."""
    return key == () or key in OLD_SECTIONS or (key in schema() and _is_model(schema()[key])) or _is_open(key)


@cache
def schema() -> dict[Key, Any]:
    """Each section and setting with its annotation."""

    def walk(model: Any, key: Key) -> Iterator[tuple[Key, Any]]:
        for name, field in model.model_fields.items():
            yield (*key, name), field.annotation
            if _is_model(field.annotation):
                yield from walk(field.annotation, (*key, name))

    return dict(walk(Config, ()))


def unknown(setting: Setting) -> str | None:
    """What is wrong with a setting's key: unknown, a section given a value, a value given keys; or None."""
    key = setting.key
    if _is_open(key[:-1]):
        return None
    if key in schema():
        if not is_section(key):
            return None
        if isinstance(setting.value, dict):
            return None
        return (
            f"{setting.where}: {setting.dotted}: is a section with keys of its own, got {show(setting.value)}"
        )
    depth = next(d for d in range(1, len(key) + 1) if key[:d] not in schema())
    parent = key[: depth - 1]
    if parent and not is_section(parent):
        return (
            f"{setting.where}: {setting.dotted}: {'.'.join(parent)} is a single value without keys below it"
        )
    return f"{setting.where}: {setting.dotted}: unknown key{_meant(key, parent)}"


def canonical_case(setting: Setting) -> Setting:
    """`trr++` for `TRR++`: words out of a fixed list may be written in any letter case."""
    words = _words(schema().get(setting.key))
    if isinstance(setting.value, str) and setting.value not in words:
        for word in words:
            if word.casefold() == setting.value.casefold():
                return Setting(setting.key, word, setting.where)
    return setting


def validate(merged: Mapping[Key, Setting]) -> tuple[Config | None, list[tuple[Setting, str]]]:
    """The configuration, or else the setting and the message of every value that is wrong."""
    found: dict[tuple[Key, Any], tuple[Setting, list[str]]] = {}
    tree: dict[str, Any] = Config().model_dump()  # so that half an alarm keeps the other half's defaults
    for key, setting in merged.items():
        if isinstance(setting.value, bool) and _annotation(key) not in (bool, Any):
            found[key, ()] = (setting, ["should not be true or false"])
            continue
        section = tree
        for name in key[:-1]:
            section = section[name]
        section[key[-1]] = setting.value
    config = None
    try:
        config = Config.model_validate(tree)
    except ValidationError as e:
        for error in e.errors():
            key = _setting_key(error["loc"], merged)
            items = tuple(part for part in error["loc"][len(key) :] if isinstance(part, int))
            found.setdefault((key, items), (merged[key], []))[1].append(_wording(merged[key], error))
    problems = []
    for (_, items), (setting, messages) in found.items():
        value = setting.value
        for item in items:
            value = value[item]
        dotted = setting.dotted + "".join(f"[{item}]" for item in items)
        message = " or ".join(dict.fromkeys(messages)).replace(" or should be", " or")
        guess = _guess(setting, value)
        problems.append((setting, f"{setting.where}: {dotted}: {message}, got {show(value)}{guess}"))
    if config is not None and not problems:
        problems = list(_wrong_curriculum(config, merged))
    return (None if problems else config), problems


def _wrong_curriculum(config: Config, merged: Mapping[Key, Setting]) -> Iterator[tuple[Setting, str]]:
    """What the curriculum's algorithm says of its options, at the option that it names, or else at its own name."""
    try:
        build_curriculum(config.curriculum.name, arms=config.tasks.arms, **config.curriculum.options)
    except ValueError as e:
        options = [setting for key, setting in merged.items() if _is_open(key[:-1])]
        named = [s for s in options if re.search(rf"\b{re.escape(s.key[-1])}\b", str(e))]
        setting = (named or options or [merged["curriculum", "name"]])[0]
        yield setting, f"{setting.where}: {setting.dotted}: {e}"


def _setting_key(loc: tuple[int | str, ...], merged: Mapping[Key, Setting]) -> Key:
    names = tuple(str(part) for part in loc)
    return next(names[:d] for d in range(len(names), 0, -1) if names[:d] in merged)


def _wording(setting: Setting, error: ErrorDetails) -> str:
    words = _words(_annotation(setting.key))
    if error["type"] == "literal_error" and words:
        return f"want one of {', '.join(words)}"
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        return "should be text: put it in quotes"
    text = re.sub(r"^Value error, |, unable to .*", "", error["msg"])
    return re.sub(r"^Input should be", "should be", text)


def _guess(setting: Setting, value: Any) -> str:
    if not isinstance(value, str):
        return ""
    near = closest(value, _words(_annotation(setting.key)))
    return f", did you mean '{near}'?" if near else ""


def _meant(key: Key, parent: Key) -> str:
    """What an unknown key may have been: a sibling, an older name, the same name elsewhere, or the list."""
    siblings = {k[-1]: k for k in schema() if k[:-1] == parent}
    dotted = [".".join(k) for k in schema() if not is_section(k)]
    wrong = key[len(parent)]
    rest = key[len(parent) + 1 :]
    near = closest(wrong, siblings)
    if near and (rest == () or (*parent, near, *rest) in schema()):
        return f", did you mean '{'.'.join((*parent, near, *rest))}'?"
    elsewhere = [name for name in dotted if name.split(".")[-1] == key[-1]]
    if elsewhere:
        return f", did you mean '{elsewhere[0]}'?"
    full = closest(".".join(key), [*dotted, *OLD_KEYS], cutoff=0.85) or (near and ".".join((*parent, near)))
    if full:
        return f", did you mean '{full}'?"
    return f"; {'.'.join(parent) or 'the top level'} has: {', '.join(siblings)}"


def _words(annotation: Any) -> tuple[str, ...]:
    """The words of a Literal, also as the items of a list."""
    if get_origin(annotation) is Literal:
        return tuple(str(word) for word in get_args(annotation))
    if get_origin(annotation) is tuple:
        return _words(get_args(annotation)[0])
    return ()


def _is_open(key: Key) -> bool:
    """Whether this is a setting whose keys are free: a mapping that something else than the schema checks."""
    return get_origin(schema().get(key)) is dict


def _annotation(key: Key) -> Any:
    return Any if _is_open(key[:-1]) else schema()[key]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
