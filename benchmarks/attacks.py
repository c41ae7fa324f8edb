"""Every attack of the catalogue in every environment, and with the inner layers off, where many must succeed.

    python benchmarks/attacks.py [--every 1] [--only NAME ...] [--json FILE]

Success is what evidence outside the sandbox shows (tests/security/arena), never what a program says. `late_ms`
is the longest time past a job's wall limit; it holds the machine's load. Descriptors, processes and memory (MiB)
of the executor and its host are from before the first and after the last attack. An environment that does not
run this time keeps what FILE says of it. The run under "inner layers off" is the control: it shows that the same
attacks can succeed and that their success is seen.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "security"))

from arena.arena import Arena, Outcome
from arena.environments import CONTROL, ENVIRONMENTS, Environment, Unavailable
from attacks import ATTACKS


def measure(environment: Environment, every: int) -> dict[str, Any]:
    """All outcomes of one environment, or why there are none."""
    start = time.monotonic()
    outcomes: list[Outcome] = []
    try:
        with Arena(environment) as arena:
            before = arena.measure()
            for attack in ATTACKS[::every]:
                outcomes.append(arena.run(attack))
                if outcomes[-1].evidence:
                    print(
                        f"  {attack.category}: {attack.name}: {'; '.join(outcomes[-1].evidence)}", flush=True
                    )
            after = arena.measure()
            layers = [key for key in arena.description if key.startswith(("layer ", "missing "))]
            python = arena.description.get("python", "")
    except Unavailable as reason:
        return {"skipped": str(reason)}
    won = [outcome for outcome in outcomes if outcome.evidence]
    return {
        "every": every,
        "python": python,
        "layers": layers,
        "attacks": sum(outcome.status != "skipped" for outcome in outcomes),
        "succeeded": len(won),
        "by_category": {
            category: {"attacks": count, "succeeded": sum(o.attack.category == category for o in won)}
            for category, count in Counter(o.attack.category for o in outcomes).items()
        },
        "statuses": dict(Counter(outcome.status for outcome in outcomes).most_common()),
        "successes": [
            {"category": o.attack.category, "name": o.attack.name, "evidence": kinds(o)} for o in won
        ],
        "late_ms": round(max((o.seconds - o.attack.wall_s) * 1000 for o in outcomes)),
        "before": before,
        "after": after,
        "minutes": round((time.monotonic() - start) / 60, 1),
    }


def kinds(outcome: Outcome) -> list[str]:
    """The kinds of evidence, without the names that belong to this machine."""
    return sorted({text.partition(":")[0] for text in outcome.evidence})


def table(environments: dict[str, dict[str, Any]]) -> str:
    """Successes of all attacks by category and environment, as Markdown."""
    ran = {name: found for name, found in environments.items() if "skipped" not in found}
    lines = [["category", "attacks", *ran], ["---"] * (len(ran) + 2)]
    categories = dict.fromkeys(category for found in ran.values() for category in found["by_category"])
    for category in categories:
        rows = [found["by_category"][category] for found in ran.values()]
        lines.append([category, str(rows[0]["attacks"]), *(str(row["succeeded"]) for row in rows)])
    totals = [str(found["succeeded"]) for found in ran.values()]
    lines.append(["all", str(next(iter(ran.values()))["attacks"]) if ran else "0", *totals])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = {environment.name: environment for environment in (*ENVIRONMENTS, CONTROL)}
    parser.add_argument("--every", type=int, default=1, help="take only every n-th attack")
    parser.add_argument("--only", nargs="+", choices=names, default=list(names), metavar="NAME")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    environments: dict[str, dict[str, Any]] = {}
    if arguments.json and arguments.json.exists():
        environments = json.loads(arguments.json.read_text())["environments"]
    for name in arguments.only:
        environments[name] = measure(names[name], arguments.every)
        print(name, "-", environments[name].get("skipped") or f"{environments[name]['succeeded']} succeeded")
    report = {
        "machine": f"{platform.machine()}, Linux {platform.release().split('-')[0]}",
        "environments": {name: environments[name] for name in names if name in environments},
    }
    print(table(environments))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
