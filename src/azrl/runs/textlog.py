"""The text log: what `logging` says under `azrl` goes to logs/run.log and to the screen."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from azrl.runs.atomic import disk_errors

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class _Formatter(logging.Formatter):
    """Control characters are spelt out, so that no message can move the cursor or recolour a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).translate(_CONTROL)


class _FileHandler(logging.FileHandler):
    """A log that cannot be written any more (a full disk) is given up with one line, not one a message."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exception()
        self.setLevel(logging.CRITICAL + 1)
        with suppress(OSError):  # closing tries once more to write what just could not be written
            self.close()
        logging.getLogger("azrl").warning("%s cannot be written any more: %s", self.baseFilename, error)


class _ConsoleHandler(logging.Handler):
    """Through rich, so that lines appear above a live display. There, heartbeats would only repeat it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        if (
            self._console.is_terminal
            and record.name.endswith(".heartbeat")
            and record.levelno < logging.WARNING
        ):
            return
        self._console.print(
            self.format(record), markup=False, emoji=False, highlight=False, soft_wrap=True,
            style="yellow" if record.levelno >= logging.WARNING else None,
        )  # fmt: skip


@contextmanager
def open_log(path: Path, level: str = "INFO", console: Console | None = None) -> Iterator[None]:
    """Send the `azrl` loggers to the file (appended to) and, when given, to the console, for the block."""
    with disk_errors(f"write {path}"):
        file = _FileHandler(path, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handlers: list[logging.Handler] = [file]
    if console is not None:
        screen = _ConsoleHandler(console)
        screen.setFormatter(_Formatter("%(message)s"))
        handlers.append(screen)
    logger = logging.getLogger("azrl")
    before = logger.level
    logger.setLevel(level)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(before)
        for handler in handlers:
            logger.removeHandler(handler)
        file.close()
