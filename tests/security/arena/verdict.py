"""Whether a result is one that an executor may give: the contract, checked without trusting the executor."""

from __future__ import annotations

import re
from typing import Any

from attacks.model import Attack

from azrl.tasks import judge

_OUTPUT_CHARS = 8192
_CPU_SLACK_MS = 100.0
_WALL_SLACK_S = 2.0
_REASON = re.compile(r"[\w -]{0,80}")


def of(attack: Attack, result: list[Any], seconds: float) -> list[str]:
    """Evidence in the attack's own result: [status, outputs, error, cpu_ms, errors]."""
    status, outputs, error, cpu_ms, errors = result
    found = []
    if len(outputs) != len(attack.inputs) or len(errors) != len(attack.inputs):
        found.append("verdict: not one output for each input")
    for output in outputs:
        if output is not None and not _literal(output):
            found.append("verdict: an output that is no canonical literal")
    if not all(_REASON.fullmatch(reason) for reason in (error, *errors)):
        found.append("verdict: an error that is more than a short reason")
    if (status == "ok") != any(output is not None for output in outputs):
        found.append("verdict: the status does not fit the outputs")
    if status == "infra":
        found.append("server: the job came back as infrastructure trouble")
    if attack.never_ok and status == "ok":
        found.append("verdict: OK for what cannot be OK")
    if cpu_ms > attack.cpu_s * 1000 + _CPU_SLACK_MS:
        found.append(f"limit: {cpu_ms:.0f} ms of CPU time for {attack.cpu_s * 1000:.0f}")
    if seconds > attack.wall_s + _WALL_SLACK_S:
        found.append(f"limit: {seconds:.1f} s for {attack.wall_s} s")
    return found


def _literal(text: str) -> bool:
    try:
        return len(text) <= _OUTPUT_CHARS and judge.canonical(text, max_chars=_OUTPUT_CHARS) == text
    except judge.NotLiteral:
        return False
