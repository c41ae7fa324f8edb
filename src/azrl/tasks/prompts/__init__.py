"""Prompt templates, one file each; `build_template` names them."""

from __future__ import annotations

from collections.abc import Sequence

from azrl.tasks.prompts.base import Malformed, Template

__all__ = ["Malformed", "Template", "build_template"]


def build_template(name: str, *, forbidden_modules: Sequence[str] = (), pairs: int = 6) -> Template:
    """`compact` for tiny models, `think` for language models; ValueError names what there is.

    `forbidden_modules` and `pairs` (inputs of an induction task) are what `think` tells the proposer.
    """
    if name == "compact":
        from azrl.tasks.prompts.compact import Compact

        return Compact()
    if name == "think":
        from azrl.tasks.prompts.think import Think

        return Think(forbidden_modules, pairs)
    raise ValueError(f"no prompt template named {name!r}; there are 'compact' and 'think'")
