"""Tokens a second and MFU, told alike by every benchmark: the formula is azrl.flops, the peaks are two."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from azrl import flops


@dataclass(frozen=True, slots=True)
class Peaks:
    """Operations a second: of the card's data sheet (None where it is not known) and of a matrix product, measured."""

    data_sheet: float | None
    measured: float

    def told(self) -> dict[str, float | None]:
        """For the JSON, in TFLOP/s."""
        sheet = None if self.data_sheet is None else self.data_sheet / 1e12
        return {"data_sheet_tflops": sheet, "measured_tflops": round(self.measured / 1e12, 3)}


def find_peaks(device: str, dtype: torch.dtype) -> Peaks:
    """Of this machine: square products, 8192 wide on a GPU and 1024 on a CPU, the best of ten after three."""
    size = 8192 if device == "cuda" else 1024
    generator = torch.Generator(device).manual_seed(0)
    left, right = (torch.randn(size, size, device=device, generator=generator).to(dtype) for _ in range(2))
    spent = [timed(device, lambda: left @ right) for _ in range(13)][3:]
    sheet = flops.data_sheet_peak(torch.cuda.get_device_name()) if device == "cuda" else None
    return Peaks(sheet, 2 * size**3 / min(spent))


def timed(device: str, run: Callable[[], object]) -> float:
    """Seconds of the wall clock, all work on the device done."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def figures(tokens: float, operations: float, seconds: Sequence[float], peaks: Peaks) -> dict[str, Any]:
    """Of `tokens` and `operations` done in each of some rounds: the median round's speed, and every round's."""
    middle = statistics.median(seconds)
    sheet = peaks.data_sheet
    return {
        "tokens_per_second": round(tokens / middle),
        "mfu_data_sheet": None if sheet is None else round(flops.utilisation(operations, middle, sheet), 4),
        "mfu_measured": round(flops.utilisation(operations, middle, peaks.measured), 4),
        "seconds": [round(value, 4) for value in seconds],
    }
