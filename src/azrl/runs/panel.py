"""What one step looks like: a line of text, or a panel for a live terminal. From metrics alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from azrl.runs.heartbeat import Status, duration

Metrics = Mapping[str, float]
_OTHERS_SHOWN = 12


def line(status: Status, metrics: Metrics) -> str:
    """One plain line: step, mean reward a role, solve rate a kind, what the gate said, speed, time left."""
    parts = [f"step {status.step}/{status.steps}"]
    rewards = [f"{role} {_mean(kinds):+.2f}" for role, kinds in _by_role(metrics).items()]
    solved = [f"{kind} {rate:.2f}" for kind, rate in _under(metrics, "solve_rate").items()]
    probe = [f"{name} {value:.3f}" for name, value in _under(metrics, "probe").items() if "/" not in name]
    for title, values in (
        ("reward", rewards),
        ("solved", solved),
        ("gate", _funnel(metrics)),
        ("probe", probe),
    ):
        if values:
            parts.append(f"{title} " + " ".join(values))
    if "time/tokens_per_s" in metrics:
        parts.append(f"{metrics['time/tokens_per_s']:.0f} tok/s")
    return " | ".join([*parts, f"eta {duration(status.eta_s)}"])


def panel(status: Status, age_s: float, metrics: Metrics, alarms: Sequence[str]) -> RenderableType:
    """The live display: bar and phase, a table of kinds by role, the gate, other metrics, alarms."""
    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text(f"step {status.step}/{status.steps}", style="bold"),
        ProgressBar(total=1.0, completed=min(1.0, status.share), width=40),
        Text(f"{status.phase} {age_s:.0f}s", style="cyan"),
        Text(f"eta {duration(status.eta_s)}"),
    )
    parts: list[RenderableType] = [head]
    if rewards := _by_role(metrics):
        parts.append(_table(rewards, _under(metrics, "solve_rate")))
    if funnel := _funnel(metrics):
        parts.append(Text("gate   " + "  ".join(funnel)))
    others = [
        f"{key} {value:.4g}"
        for key, value in metrics.items()
        if "/" not in key or (key.startswith("probe/") and key.count("/") == 1)
    ]
    if "time/tokens_per_s" in metrics:
        others.insert(0, f"{metrics['time/tokens_per_s']:.0f} tok/s")
    if others:
        parts.append(Text("  ".join(others[:_OTHERS_SHOWN]), style="dim"))
    parts.extend(Text(f"alarm: {alarm}", style="bold yellow") for alarm in alarms)
    return Group(*parts)


def _table(rewards: dict[str, dict[str, float]], solved: dict[str, float]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("kind")
    for role in rewards:
        table.add_column(f"{role} reward", justify="right")
    table.add_column("solve rate", justify="right")
    kinds = sorted({kind for by_kind in rewards.values() for kind in by_kind} | set(solved))
    for kind in kinds:
        cells = [f"{by_kind[kind]:+.2f}" if kind in by_kind else "-" for by_kind in rewards.values()]
        table.add_row(kind, *cells, f"{solved[kind]:.2f}" if kind in solved else "-")
    return table


def _under(metrics: Metrics, prefix: str) -> dict[str, float]:
    start = prefix + "/"
    return {key.removeprefix(start): value for key, value in metrics.items() if key.startswith(start)}


def _by_role(metrics: Metrics) -> dict[str, dict[str, float]]:
    roles: dict[str, dict[str, float]] = {}
    for name, value in _under(metrics, "reward").items():
        role, _, kind = name.partition("/")
        roles.setdefault(role, {})[kind] = value
    return roles


def _funnel(metrics: Metrics) -> list[str]:
    counts = sorted(_under(metrics, "gate").items(), key=lambda item: -item[1])
    return [f"{reason} {count:g}" for reason, count in counts if count]


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
