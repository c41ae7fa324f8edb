"""`python main.py export RUN --out FOLDER`: a run's model as a plain Hugging Face folder."""

from __future__ import annotations

from collections.abc import Sequence

from azrl.cli.arguments import Parser
from azrl.cli.resume import run_folder


def run(argv: Sequence[str]) -> int:
    """Print where the model was written."""
    parser = Parser(
        "export",
        "RUN --out FOLDER [--dtype float32|bfloat16] [--push OWNER/NAME]",
        "Write a run's newest checkpoint as a Hugging Face model: weights (adapters added in), tokenizer, model card.",
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, help="a new folder")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: the base model's own")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload to this repository of the hub as well")
    options, words = parser.parse_split(argv)
    if len(words) != 1:
        parser.error("want one run's folder" + (f", got {len(words)}" if words else ""))
    folder = run_folder(words[0])

    from azrl.export import export

    print(export(str(folder), options.out, dtype=options.dtype, push=options.push))
    return 0
