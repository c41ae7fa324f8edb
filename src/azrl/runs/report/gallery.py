"""Tasks with their attempts, refused proposals and the most practised tasks, as the model wrote them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from azrl.runs.report.buffer import StoredTask
from azrl.runs.report.data import RunData
from azrl.runs.report.frame import box, colour, number
from azrl.runs.report.markup import Html, join, shorten, tag
from azrl.runs.report.palette import KIND_COLOURS, by_kind

_TASKS_A_KIND = 4
_REFUSED = 8
_TEXT = 1500

Record = dict[str, Any]


def gallery_section(run: RunData) -> Html:
    """Solved tasks by kind, then what the gate refused, then what the buffer practised most."""
    groups: dict[str, list[Record]] = {}
    for record in run.rollouts:
        if record.get("role") == "solver":
            groups.setdefault(f"{record['step']} {record.get('task_id')}", []).append(record)
    proposals = {
        str(r.get("task_id")): r for r in run.rollouts if r.get("role") == "proposer" and r.get("task_id")
    }
    kinds = by_kind(str(group[0].get("kind")) for group in groups.values())
    tasks = [
        _task(group, proposals.get(str(group[0].get("task_id"))))
        for kind in kinds
        for group in _choose([g for g in groups.values() if str(g[0].get("kind")) == kind])
    ]
    refused = [_refused(record) for record in _spread(run.rollouts)]
    stored = [_stored(task) for task in run.buffer.tasks] if run.buffer else []
    parts = [
        _wall("Tasks and their attempts", tasks, "No rollouts were written, so there is no attempt to show."),
        _wall("Refused by the gate", refused, "No refused proposal was written."),
        _wall("Practised most", stored, "The buffer holds no task to show."),
    ]
    return join(parts)


def _wall(title: str, cards: Sequence[Html], otherwise: str) -> Html:
    shown = tag("div", *cards, class_="tasks") if cards else tag("p", otherwise, class_="gone")
    return join([tag("h3", title), shown])


def _choose(groups: list[list[Record]]) -> list[list[Record]]:
    """Groups spread over the run, those with both right and wrong answers first."""
    mixed = [group for group in groups if len({bool(record.get("correct")) for record in group}) == 2]
    pool = mixed if len(mixed) >= _TASKS_A_KIND else mixed + [group for group in groups if group not in mixed]
    count = min(_TASKS_A_KIND, len(pool))
    return [pool[round(at * (len(pool) - 1) / max(count - 1, 1))] for at in range(count)]


def _spread(records: Iterable[Record]) -> list[Record]:
    """The latest refused proposal of each reason, most frequent reasons first."""
    latest: dict[str, list[Record]] = {}
    for record in records:
        reason = str(record.get("reason") or "")
        if record.get("role") == "proposer" and reason not in ("", "admitted"):
            latest.setdefault(reason, []).append(record)
    return [group[-1] for _, group in sorted(latest.items(), key=lambda item: -len(item[1]))[:_REFUSED]]


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _head(kind: str, *facts: str) -> Html:
    badge = tag("span", kind, class_="badge", style=colour(KIND_COLOURS.get(kind, 9)))
    return tag("p", badge, *(tag("span", fact) for fact in facts if fact), class_="facts")


def _code(value: object, kind: str = "code") -> Html:
    return tag("pre", shorten(str(value), _TEXT), class_=kind)


def _pairs(inputs: Sequence[str], outputs: Sequence[str]) -> Html:
    rows = [
        tag(
            "li",
            tag("code", f"f({shorten(given, 300)})"),
            tag("span", " → "),
            tag("code", shorten(result, 300)),
        )
        for given, result in zip(inputs, outputs, strict=False)
    ]
    return tag("ul", *rows, class_="pairs") if rows else Html("")


def _task(group: list[Record], proposal: Record | None) -> Html:
    first = group[0]
    right = sum(1 for record in group if record.get("correct"))
    dots = [tag("i", class_=_verdict(record)) for record in group]
    attempts = [_attempt(record) for record in group[:8]]
    parts = [
        _head(str(first.get("kind")), f"step {first['step']}", f"{right} of {len(group)} shown are right"),
        tag("p", *dots, class_="dots", aria_hidden="true"),
        _code(first.get("program") or "(no program)"),
        _pairs(_texts(first.get("inputs")), _texts(first.get("outputs"))),
        tag("details", tag("summary", "What was asked"), _code(first.get("prompt") or "", "said")),
        tag("details", tag("summary", "What was answered"), tag("ol", *attempts, class_="attempts")),
    ]
    if proposal is not None:
        said = _code(proposal.get("response") or "", "said")
        parts.append(tag("details", tag("summary", "How it was proposed"), said))
    return tag("article", *parts)


def _attempt(record: Record) -> Html:
    gains = ((name, _number(record.get(name))) for name in ("reward", "advantage"))
    facts = [tag("span", f"{name} {number(value)}") for name, value in gains if value is not None]
    verdict = _verdict(record)
    head = tag("p", tag("b", verdict, class_=verdict), *facts, class_="facts")
    return tag("li", head, _code(record.get("response") or "(empty)", "said"))


def _verdict(record: Record) -> str:
    correct = record.get("correct")
    return "unjudged" if correct is None else "right" if correct else "wrong"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e12 else None


def _refused(record: Record) -> Html:
    head = _head(str(record.get("kind")), f"step {record['step']}", f"refused: {record.get('reason')}")
    return tag("article", head, _code(record.get("response") or "(empty)", "said"))


def _stored(task: StoredTask) -> Html:
    facts = f"{task.visits:,} visits", f"solved {number(task.solved, True)}", f"from step {task.created}"
    message = tag("p", shorten(task.message, 300), class_="note") if task.message else Html("")
    parts = [
        _head(task.kind, *facts),
        _code(task.program),
        _pairs(task.inputs, task.outputs),
        message,
        _history(task),
    ]
    return tag("article", *parts)


def _history(task: StoredTask) -> Html:
    """One small column a visit, as tall as its share of right answers."""
    style = colour(KIND_COLOURS.get(task.kind, 9))
    bars = [
        box(
            at * 12,
            29 - 28 * share,
            9,
            28 * share + 1,
            style,
            tip=f"step {step}: {number(share, True)} right",
        )
        for at, (step, share) in enumerate(task.history)
    ]
    if not bars:
        return Html("")
    return tag(
        "svg", *bars, viewBox="0 0 288 30", class_="spark", role="img", aria_label="solve rate by visit"
    )
