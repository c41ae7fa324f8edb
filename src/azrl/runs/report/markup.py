"""Markup that escapes by type: a plain string can never become a tag or leave its attribute.

Everything a report shows is built by `tag`. Only an `Html` passes through as it is, and only `tag`, `join`
and constants in this package make one, so a model's text has no way in but as text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff\ud800-\udfff]"
)


class Html(str):
    """Markup that is safe to emit as it is."""

    __slots__ = ()


def text(value: object) -> Html:
    """Escape a value. Control, direction-changing and unpaired surrogate characters show as \\uXXXX."""
    if isinstance(value, Html):
        return value
    shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return Html(html.escape(_UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", shown), quote=True))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """`<name attributes>children</name>`; `class_` is `class`, `data_x` is `data-x`, None leaves out."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{shown}>{join(children)}</{name}>")


def join(parts: Iterable[object]) -> Html:
    """One piece of markup from many, plain strings escaped."""
    return Html("".join(text(part) for part in parts))


def shorten(value: str, limit: int) -> str:
    """At most `limit` characters, saying how many were left out."""
    return value if len(value) <= limit else f"{value[:limit]} … ({len(value) - limit:,} more characters)"
