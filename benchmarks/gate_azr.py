"""Puts proposals of a 7B code model through policy and gate, and reruns them against their stored outputs.

    python benchmarks/gate_azr.py [--data ../shared/data] [--out benchmarks/results/gate_azr.json]

The data are the seed sets that Absolute Zero released (MIT licence): 256 triplets of program, input and
output, which go in as deduction and as abduction drafts, and 256 induction tasks. Prints the tables of
docs/gate.md. Everything runs in the `process` executor with the default config; nothing but the `timeout`
code depends on the machine's speed.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from azrl.config import Config
from azrl.executor import Executor, Job, Limits, open_executor
from azrl.tasks import judge
from azrl.tasks.gate import Execution, Gate, GateLimits, Observation, Reason, Verdict
from azrl.tasks.types import KINDS, Draft, Kind

VARIANTS = (0, 1, 2)
SHOWN = 60
CUT = 190  # the released outputs keep about 200 characters of either end
NOT_RUN = {
    "refused": "input is no literal",
    "output": "output is no literal",
    "error": "does not run in the sandbox",
}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def drafts(triplets: Sequence[dict[str, Any]], induction: Sequence[dict[str, Any]]) -> list[Draft]:
    pairs = [(kind, r) for kind in (Kind.DEDUCTION, Kind.ABDUCTION) for r in triplets]
    return [Draft(kind, r["snippet"], (r["input"],)) for kind, r in pairs] + [
        Draft(Kind.INDUCTION, r["snippet"], tuple(r["inputs"]), r["message"]) for r in induction
    ]


def admit(executor: Executor, proposals: Sequence[Draft]) -> list[Verdict]:
    tasks, section = Config().tasks, Config().executor
    limits = Limits(cpu_s=section.timeout, output_chars=section.output_chars)
    gate = Gate(
        GateLimits(
            tasks.max_program_chars,
            tasks.max_value_chars,
            tasks.check_variants,
            tasks.induction_pairs,
            tasks.forbidden_modules,
        )
    )

    def execute(executions: Sequence[Execution]) -> list[Observation]:
        results = executor.run([Job(e.program, e.inputs, limits, e.variant) for e in executions])
        return [Observation(r.status.value, r.outputs, r.error) for r in results]

    return gate.admit(proposals, execute)


def reproduce(executor: Executor, triplets: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those triplets whose stored output three interpreters do not give back, with what they gave."""
    jobs = [
        Job(r["snippet"], (r["input"],), Limits(cpu_s=5.0, output_chars=8192), variant)
        for r in triplets
        for variant in VARIANTS
    ]
    results = executor.run(jobs)
    failures = []
    for i, record in enumerate(triplets):
        runs = results[i * len(VARIANTS) : (i + 1) * len(VARIANTS)]
        got = [
            r.outputs[0] if r.outputs and r.outputs[0] is not None else f"{r.status}: {r.error}" for r in runs
        ]
        if all(judge.equal(text, record["output"]) for text in got):
            continue
        differ = any(text != got[0] for text in got)
        failures.append(
            {
                "index": i,
                "stored": record["output"],
                "got": got if differ else got[:1],
                "why": why(record["output"], got, [r.status.value for r in runs]),
            }
        )
    return failures


def why(stored: str, got: Sequence[str], statuses: Sequence[str]) -> str:
    for status, meaning in NOT_RUN.items():
        if status in statuses:
            return meaning
    if any(text != got[0] for text in got):
        return "depends on the hash seed"
    if len(stored) < len(got[0]) and stored[:CUT] == got[0][:CUT] and stored[-CUT:] == got[0][-CUT:]:
        return "stored text was cut"
    return "other value"


def table(verdicts: Sequence[Verdict]) -> str:
    counts = {kind: Counter(v.reason for v in verdicts if v.draft.kind is kind) for kind in KINDS}
    rows = ["| reason | " + " | ".join(KINDS) + " |", "|---|" + "---|" * len(KINDS)]
    for reason in Reason:
        if any(counts[kind][reason] for kind in KINDS):
            rows.append(f"| {reason} | " + " | ".join(str(counts[kind][reason]) for kind in KINDS) + " |")
    return "\n".join(rows)


def named(failures: Sequence[dict[str, Any]]) -> str:
    rows = ["| index | why | stored | got |", "|---|---|---|---|"]
    for failure in failures:
        got = "<br>".join(cell(text) for text in failure["got"])
        rows.append(f"| {failure['index']} | {failure['why']} | {cell(failure['stored'])} | {got} |")
    return "\n".join(rows)


def cell(text: str) -> str:
    text = text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} [...] {text[-SHOWN // 2 :]}"
    return f"`{text}`".replace("|", "\\|").replace("\n", " ") if text else "(empty)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gate_azr.json"))
    options = parser.parse_args()
    triplets = read(options.data / "azr-7b-coder-triplets.jsonl")
    induction = read(options.data / "azr-7b-coder-induction.jsonl")
    with open_executor("process", workers=2) as executor:
        verdicts = admit(executor, drafts(triplets, induction))
        failures = reproduce(executor, triplets)
    index = dict.fromkeys(KINDS, 0)
    refused = []
    for verdict in verdicts:
        kind = verdict.draft.kind
        if verdict.task is None:
            refused.append([kind.value, index[kind], verdict.reason.value, verdict.detail])
        index[kind] += 1
    print(table(verdicts), end="\n\n")
    print(f"{len(failures)} of {len(triplets)} stored outputs do not reproduce:", end="\n\n")
    print(named(failures))
    summary = {
        "python": platform.python_version(),
        "proposals": {kind.value: index[kind] for kind in KINDS},
        "reasons": {
            kind.value: Counter(v.reason.value for v in verdicts if v.draft.kind is kind) for kind in KINDS
        },
        "refused": refused,
        "not_reproduced": failures,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(summary, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
