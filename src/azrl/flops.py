"""Arithmetic operations of a pass through a model, and which share of the machine's they are (MFU).

Counted is what the result needs, whatever was done for it: a multiplication and an addition for each element of each
matrix and each position, the head where a token is predicted, attention to the positions before and the own one
alone, and the backward pass at twice the forward. Not counted: padding, recomputation, norms, softmax, the optimizer.
Like appendix B of PaLM (arXiv 2204.02311), but causal attention counts half, and the head by predicted tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

from azrl.shape import Shape

DATA_SHEET = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "A40": 149.7e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "RTX A6000": 154.8e12,
    "RTX 6000 Ada": 364e12,
    "RTX 4090": 165.2e12,
    "RTX 3090": 71e12,
}
"""Dense bfloat16 operations a second with float32 sums, from NVIDIA's data sheets."""


def forward(shape: Shape, lengths: Sequence[int], predicted: int) -> float:
    """Operations to read sequences of `lengths` tokens, each for itself, and predict `predicted` of them."""
    body = shape.matrices - shape.head
    seen = sum(length * (length + 1) // 2 for length in lengths)
    attention = 4 * shape.layers * shape.queries * seen  # scores, and values weighted by them
    return 2.0 * body * sum(lengths) + 2.0 * shape.head * predicted + attention


def training(shape: Shape, lengths: Sequence[int], predicted: int) -> float:
    """Operations of a forward and a backward pass."""
    return 3.0 * forward(shape, lengths, predicted)


def generation(shape: Shape, prompts: Sequence[int], answers: Sequence[int]) -> float:
    """Operations to read each prompt once and write its answer: every written token is predicted once, and all but
    the last are read."""
    lengths = [prompt + answer - 1 for prompt, answer in zip(prompts, answers, strict=True)]
    return forward(shape, lengths, sum(answers))


def utilisation(operations: float, seconds: float, peak: float) -> float:
    """MFU: the share of `peak` operations a second. ValueError when no time has passed or the peak is not positive."""
    if seconds <= 0 or peak <= 0:
        raise ValueError(f"want positive seconds and peak, got {seconds} and {peak}")
    return operations / seconds / peak


def data_sheet_peak(gpu: str) -> float | None:
    """Of a GPU by the name that its driver gives (`NVIDIA H100 80GB HBM3`); None for one that is not in the table."""
    name = gpu.casefold().replace("-", " ")
    for model in sorted(DATA_SHEET, key=len, reverse=True):
        words = model.casefold().split()
        if all(word in name.split() for word in words):
            return DATA_SHEET[model]
    return None
