"""Stopping politely: the first signal is a request, the second an order."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopFlag:
    """While the `with` block runs, the first SIGINT or SIGTERM makes the flag true, for the loop to see
    between phases, save and leave; a second one raises KeyboardInterrupt or SystemExit(143) at once.

    Main thread only (ValueError elsewhere). The earlier handlers come back at the end of the block.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self.signum is not None

    @property
    def exit_code(self) -> int:
        """0 when nothing came, else 128 + the signal's number: 130 for SIGINT, 143 for SIGTERM."""
        return 0 if self.signum is None else 128 + self.signum

    def __enter__(self) -> StopFlag:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signum is None:
            self.signum = number
            # not through logging or print: the signal may have come in the midst of either;
            # and a closed stderr is no reason to die before the checkpoint
            with suppress(OSError):
                os.write(2, b"\nstopping after this phase, with a checkpoint; once more to stop at once\n")
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + number)
