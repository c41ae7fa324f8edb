"""Which colour means what: the same kind, role or reason has the same colour in every chart."""

from __future__ import annotations

from collections.abc import Iterable

KIND_COLOURS = {"abduction": 0, "deduction": 1, "induction": 2}

# The order in which the gate asks; a reason that is not named here comes last.
_GATE = [
    "too_large",
    "parse",
    "policy",
    "held_out",
    "duplicate",
    "leak",
    "error",
    "timeout",
    "memory",
    "crash",
    "output",
    "refused",
]
_GATE += ["nondeterministic", "trivial", "infra"]
_PHASES = ["generate", "gate", "judge", "update", "sync", "record", "probe", "checkpoint", "other"]


def kind_of(name: str) -> str:
    """The kind that an arm such as `deduction:2`, or a metric such as `deduction/2`, begins with."""
    return name.split("/")[0].split(":")[0]


def by_kind(names: Iterable[str]) -> list[str]:
    """The kinds that the names begin with, in the order of the paper, unknown ones last."""
    found = {kind_of(name) for name in names}
    return [*(kind for kind in KIND_COLOURS if kind in found), *sorted(found - KIND_COLOURS.keys())]


def gate_order(reasons: Iterable[str]) -> dict[str, int]:
    """Reasons of refusal with their colours, in the order in which the gate asks."""
    ordered = sorted(
        set(reasons) - {"admitted"}, key=lambda r: (_GATE.index(r) if r in _GATE else len(_GATE), r)
    )
    wheel = (3, 1, 4, 5, 6, 7, 8, 0, 9)
    return {reason: wheel[at % len(wheel)] for at, reason in enumerate(ordered)}


def phase_order(phases: Iterable[str]) -> dict[str, int]:
    """Phases with their colours, in the order in which a step runs them."""
    ordered = sorted(set(phases), key=lambda p: (_PHASES.index(p) if p in _PHASES else len(_PHASES), p))
    return {phase: at % 10 for at, phase in enumerate(ordered)}
