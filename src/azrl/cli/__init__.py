"""The command line: `azrl [verb] ...` and `python main.py [verb] ...`; no verb means train.

Exit codes: 0 done, 2 wrong configuration or arguments, 3 paused by an alarm, 130 and 143 stopped by SIGINT and
SIGTERM.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from azrl.errors import UserError

VERBS = {
    "train": "self-play training (the default)",
    "warmstart": "build the tiny model from nothing by supervised training",
    "eval": "measure a run or a model on the frozen probe",
    "report": "write a run's report.html",
    "export": "write a run's model as a Hugging Face folder",
    "doctor": "what this machine has, and which presets will run",
    "sandbox": "build the docker executor's image, or check that it works",
    "bench": "run a benchmark, or list them",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; what a user can mend is printed without a traceback."""
    # One thread that sleeps while it waits is fastest for small models; read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = arguments.pop(0) if arguments and arguments[0] in VERBS else "train"
    try:
        return importlib.import_module(f"azrl.cli.{verb}").run(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
