"""The sections that need only metrics and the buffer: rewards, gate, buffer, health, alarms."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from azrl.runs.report.buffer import BARS
from azrl.runs.report.charts import Series, columns, lines, stacked
from azrl.runs.report.data import RunData
from azrl.runs.report.frame import cards
from azrl.runs.report.markup import Html, join, tag
from azrl.runs.report.palette import KIND_COLOURS, by_kind, gate_order, phase_order
from azrl.runs.report.plots import funnel, heatmap

_NOT_PHASES = {"wall", "tokens_per_s", "trained"}


def _gone(sentence: str) -> Html:
    return tag("p", sentence, class_="gone")


def _each(run: RunData, prefix: str, colours: Callable[[int, str], int]) -> list[Series]:
    """A line for each name right below `prefix`."""
    names = enumerate(name for name in run.names(prefix) if "/" not in name)
    return [Series(name, run.series(prefix + name), colours(at, name)) for at, name in names]


def _single(run: RunData, key: str, colour: int) -> list[Series]:
    return [Series("", run.series(key), colour)]


def _kind_colour(at: int, name: str) -> int:
    return KIND_COLOURS.get(name, 3 + at)


def _order(at: int, name: str) -> int:
    return at


def _counts(run: RunData, prefix: str, names: Iterable[str]) -> list[tuple[int, dict[str, float]]]:
    """(step, amount by name) of the steps that have any key below `prefix`."""
    kept = list(names)
    return [
        (int(line["step"]), {name: line.get(prefix + name, 0.0) for name in kept})
        for line in run.steps
        if any(key.startswith(prefix) for key in line)
    ]


def rewards_section(run: RunData) -> Html:
    """Solve rates, and rewards of both roles."""
    solved = _each(run, "solve_rate/", _kind_colour)
    solver = _each(run, "reward/solver/", _kind_colour)
    proposer = _each(run, "reward/proposer/", _kind_colour)
    shown = cards(
        lines("Solve rate of practised tasks", solved, percent=True, floor=0.0, ceiling=1.0),
        lines("Solver reward", solver, caption="1 when right, less when wrong, least when malformed."),
        lines("Proposer reward", proposer, caption="High for tasks solved sometimes, least when refused."),
    )
    return shown or _gone("No rewards were recorded.")


def gate_section(run: RunData) -> Html:
    """What became of the proposals."""
    reasons = gate_order(run.names("gate/"))
    lost = [(reason, round(run.total(f"gate/{reason}")), index) for reason, index in reasons.items()]
    total = round(run.total("gate/admitted")) + sum(count for _, count, _ in lost)
    if not total:
        return _gone("No proposals were recorded.")
    names = {"admitted": 2, **reasons}
    told = "Grey: still in. Coloured: refused there, in the order in which the gate asks."
    return cards(
        funnel("Gate funnel, whole run", total, [row for row in lost if row[1]], caption=told),
        stacked("Proposals a step, by verdict", _counts(run, "gate/", names), names),
        lines("Statements in an admitted program", _single(run, "size/statements", 4), caption="Mean."),
    )


def buffer_section(run: RunData) -> Html:
    """How hard the stored tasks are, and how many there are of each."""
    over = [Series("all", run.series("buffer/size"), 9)]
    over += [Series(kind, run.series(f"buffer/{kind}"), index) for kind, index in KIND_COLOURS.items()]
    growth = lines("Tasks in the buffer", over, floor=0.0)
    view = run.buffer
    if view is None or not view.size:
        return join(
            [cards(growth), _gone("The buffer holds no task." if view else "There is no buffer to show.")]
        )
    names = {kind: KIND_COLOURS.get(kind, 9) for kind in by_kind(kind for kind, _ in view.counts)}
    bars = [
        (f"{100 * bar // BARS} %", {kind: float(view.histogram.get((kind, bar), 0)) for kind in names})
        for bar in range(BARS)
    ]
    bins = sorted({size for _, size in view.counts})
    table = [(kind, [float(view.counts.get((kind, size), 0)) for size in bins]) for kind in names]
    told = f"Posterior means of practised tasks; {view.unvisited:,} were not practised yet."
    return cards(
        columns("Solve rate of stored tasks", bars, names, caption=told),
        heatmap("Stored tasks, by kind and bin", table, [f"bin {size}" for size in bins], colours=names),
        growth,
    )


def health_section(run: RunData) -> Html:
    """Signs of collapse, of a drifting sampler, and where the time went."""
    phases = phase_order(name for name in run.names("time/") if name not in _NOT_PHASES)
    drift = [
        Series("policy KL", run.series("kl"), 0),
        Series("sampler mismatch", run.series("mismatch_kl"), 1),
    ]
    formed = _each(run, "format/", _order)
    unique = _single(run, "unique_rate", 2)
    shown = cards(
        lines("Unique programs among admitted", unique, percent=True, floor=0.0, ceiling=1.0),
        lines(
            "Entropy",
            _single(run, "entropy", 4),
            floor=0.0,
            caption="Nats a token; near 0 all answers are alike.",
        ),
        lines("Response length", _each(run, "length/", _order), floor=0.0, caption="Tokens."),
        lines("Well-formed answers", formed, percent=True, floor=0.0, ceiling=1.0),
        lines("Loss", _single(run, "loss", 5)),
        lines("Gradient norm", _single(run, "grad_norm", 6), floor=0.0, caption="Before clipping."),
        lines("Divergences", drift, caption="Nats; the mismatch is between sampler and trainer."),
        stacked("Seconds a step, by phase", _counts(run, "time/", phases), phases),
        lines("Tokens a second", _single(run, "time/tokens_per_s", 3), floor=0.0),
    )
    return shown or _gone("No health metrics were recorded.")


def executor_section(run: RunData) -> Html:
    """How the pool of fork servers did: latencies, and what it had to kill, repeat or replace."""
    waits = [
        Series(f"p{p}", run.series(f"executor/latency_ms_p{p}"), at) for at, p in enumerate((50, 95, 99))
    ]
    runs = [Series(f"p{p}", run.series(f"executor/run_ms_p{p}"), at) for at, p in enumerate((50, 95, 99))]
    kills = _each(run, "executor/kills/", _order)
    repairs = [
        Series(name.replace("_", " "), run.series(f"executor/{name}"), at)
        for at, name in enumerate(("retries", "respawns", "recycled", "infra", "canaries_wrong"))
    ]
    shown = cards(
        lines("From job to result", waits, floor=0.0, caption="Milliseconds, with the wait in the queue."),
        lines("Run of one job", runs, floor=0.0, caption="Milliseconds, from fork to end."),
        lines("Killed, by reason", kills, floor=0.0, caption="Since the process began, as all counts here."),
        lines("Repairs", repairs, floor=0.0, caption="A retry is a second run after a server's failure."),
        lines("Results from the cache", _single(run, "executor/cache_hits", 2), floor=0.0),
        lines("Longest queue", _single(run, "executor/queue_max", 3), floor=0.0, caption="Jobs."),
    )
    return shown or _gone("No executor metrics were recorded.")


def alarms_section(run: RunData) -> Html:
    """Which alarms fired, and when."""
    rows = []
    for name in run.names("alarm/"):
        fired = [int(step) for step, value in run.series(f"alarm/{name}") if value]
        if fired:
            more = f" and {len(fired) - 12} more" if len(fired) > 12 else ""
            when = ", ".join(map(str, fired[:12])) + more
            rows.append(tag("li", tag("b", name), f" fired {len(fired)}×, at step {when}"))
    return tag("ul", *rows, class_="alarms") if rows else tag("p", "No alarm fired.", class_="quiet")
