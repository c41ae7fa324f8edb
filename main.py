"""`python main.py [verb] ...`: see `python main.py --help`."""

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 (who has an older one learns it here)
    sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

if __name__ == "__main__":
    try:
        from azrl.cli import main

        code = main()
    except ModuleNotFoundError as error:
        if (error.name or "azrl").split(".")[0] == "azrl":
            raise
        print(
            f"the package {error.name!r} is missing for {sys.executable}: pip install -r requirements.txt, or use the "
            "environment that `make venv` makes (.venv/bin/python main.py ...)",
            file=sys.stderr,
        )
        code = 2
    sys.exit(code)
