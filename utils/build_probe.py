"""Build the frozen probe: `python utils/build_probe.py`. Deterministic; run it only when the tiny world changes."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from azrl.evals.items import BINS, FILE
from azrl.executor import open_executor
from azrl.models.corpus import executed, tasks_of
from azrl.models.programs import operations
from azrl.models.warmstart import outputs_by
from azrl.tasks.types import KINDS

PROGRAMS_PER_BIN = 250
SEED = 20260101


def main() -> None:
    """Draw until every bin has its programs, then write all three tasks of each, bins interleaved."""
    found: dict[int, list] = {b: [] for b in BINS}
    with open_executor("process") as executor:
        for item in executed(Random(SEED), BINS, outputs_by(executor), seen=set(), distinct=True):
            # Programs of one operation are the world's vocabulary: too few to spare, and all must be learnt.
            if operations(item.program) > 1:
                found[item.size].append(item)
            if all(len(items) >= PROGRAMS_PER_BIN for items in found.values()):
                break
    rows = [tasks_of(found[b][i]) for i in range(PROGRAMS_PER_BIN) for b in BINS]
    text = "".join(json.dumps(tasks[kind].to_json()) + "\n" for tasks in rows for kind in KINDS)
    FILE.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{len(rows)} programs, {len(rows) * len(KINDS)} items: {FILE.name}")


if __name__ == "__main__":
    main()
