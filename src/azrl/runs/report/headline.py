"""The first screen: what ran, in one sentence and a row of large numbers."""

from __future__ import annotations

from azrl.runs.report.data import RunData
from azrl.runs.report.frame import number
from azrl.runs.report.markup import Html, join, tag
from azrl.runs.report.probe import change


def headline(run: RunData) -> Html:
    """Subtitle, verdict on the probe, tiles; and, when something is missing or damaged, which."""
    tiles = [tile for tile in (*_probe_tiles(run), *_run_tiles(run)) if tile]
    return join(
        [
            tag("header", tag("h1", run.folder.resolve().name), tag("p", _subtitle(run), class_="sub")),
            tag("div", *tiles, class_="tiles") if tiles else tag("p", "No step was finished.", class_="gone"),
            _warnings(run),
        ]
    )


def _subtitle(run: RunData) -> str:
    def setting(section: str, key: str) -> str:
        inside = run.config.get(section)
        return str(inside.get(key, "")) if isinstance(inside, dict) else ""

    model, backend, seed = setting("model", "name"), setting("executor", "backend"), setting("run", "seed")
    algorithm, curriculum = setting("training", "rl_algorithm"), setting("curriculum", "name")
    facts = (
        model and f"model {model}",
        algorithm,
        curriculum and f"{curriculum} curriculum",
        backend and f"{backend} executor",
        seed and f"seed {seed}",
    )
    return "Self-play" + "".join(f" · {fact}" for fact in facts if fact)


def _tile(value: str, name: str, more: str = "", mood: str = "") -> Html:
    return tag("div", tag("b", value, class_=mood or None), tag("span", name), tag("small", more))


def _probe_tiles(run: RunData) -> list[Html]:
    tiles = []
    for measure, name in (("sampled", "sampled pass@1"), ("greedy", "greedy pass@1"), ("pass@8", "pass@8")):
        found = change(run, measure, name, 0)
        if found:
            gain, error = found.end - found.start, (found.start_error**2 + found.end_error**2) ** 0.5
            mood = "up" if gain > 2 * error else "down" if gain < -2 * error else ""
            spread = f", ± {100 * error:.1f}" if error else ""
            more = f"{100 * found.start:.1f} → {100 * found.end:.1f} %{spread}"
            tiles.append(_tile(f"{100 * gain:+.1f} pt", f"{name}, probe", more, mood))
        elif points := run.series(f"probe/{measure}"):
            tiles.append(_tile(number(points[-1][1], True), f"{name}, probe", "measured once"))
    return tiles


def _run_tiles(run: RunData) -> list[Html]:
    if not run.steps:
        return []
    wall, tokens = run.total("time/wall"), run.total("tokens")
    proposals = sum(run.total(f"gate/{reason}") for reason in run.names("gate/"))
    admitted, fired = (
        run.total("gate/admitted"),
        sum(run.total(f"alarm/{name}") for name in run.names("alarm/")),
    )
    speed, size, unique = (
        run.series("time/tokens_per_s"),
        run.series("buffer/size"),
        run.series("unique_rate"),
    )
    trained = [value for _, value in run.series("trained/share")]
    last_unique = [value for _, value in unique[-10:]]
    return [
        _tile(f"{run.steps[-1]['step']:.0f}", "steps", f"in {duration(wall)}" if wall else ""),
        _tile(number(tokens), "tokens", _speed(speed)) if tokens else Html(""),
        _tile(
            number(admitted / proposals, True),
            "of proposals admitted",
            f"{admitted:,.0f} of {proposals:,.0f}",
        )
        if proposals
        else Html(""),
        _tile(
            number(sum(last_unique) / len(last_unique), True), "unique programs", "mean of the last ten steps"
        )
        if last_unique
        else Html(""),
        _tile(number(sum(trained) / len(trained), True), "of solver answers trained on")
        if trained
        else Html(""),
        _tile(f"{size[-1][1]:,.0f}", "tasks in the buffer") if size else Html(""),
        _tile(f"{fired:.0f}", "alarms", "", "down" if fired else ""),
    ]


def _speed(points: tuple[tuple[float, float], ...]) -> str:
    return (
        f"{number(sorted(value for _, value in points)[len(points) // 2])} a second (median)"
        if points
        else ""
    )


def duration(seconds: float) -> str:
    """45 s, 9 min 12 s, 3 h 04 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60} s"
        if whole < 3600
        else f"{whole // 3600} h {whole // 60 % 60:02d} min"
    )


def _warnings(run: RunData) -> Html:
    lines = list(run.notes)
    if run.damaged:
        named = "; ".join(run.damaged[:5]) + (
            f"; and {len(run.damaged) - 5} more" if len(run.damaged) > 5 else ""
        )
        lines.append(f"{len(run.damaged)} damaged line{'s' * (len(run.damaged) > 1)} left out: {named}.")
    return tag("ul", *(tag("li", line) for line in lines), class_="warnings") if lines else Html("")
