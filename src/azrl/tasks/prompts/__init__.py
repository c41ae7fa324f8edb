"""Prompt templates, one file each; `build_template` names them."""

from __future__ import annotations

from azrl.tasks.prompts.base import Malformed, Template

__all__ = ["Malformed", "Template", "build_template"]


def build_template(name: str) -> Template:
    """`compact` for tiny models, `think` for language models; ValueError names what there is."""
    if name == "compact":
        from azrl.tasks.prompts.compact import Compact

        return Compact()
    if name == "think":
        from azrl.tasks.prompts.think import Think

        return Think()
    raise ValueError(f"no prompt template named {name!r}; there are 'compact' and 'think'")
