"""TRL's GRPOTrainer, a few optimizer steps at a time: the rival of benchmarks/selfplay_speed.py and learner.py.

    python benchmarks/rivals/trl_worker.py FOLDER

Runs in an environment of its own (trl, torch, datasets; nothing of azrl). FOLDER holds the model, its tokenizer,
`prompts.json` ({"prompt": [...], "answer": [...]}) and `settings.json` (the fields of GRPOConfig, and `weights`:
the model's dtype). Each line "N" on stdin is answered, N optimizer steps later, by a JSON line: the completions
made and their tokens up to and including the end token.

With a `batch.json` ({"prompt": [[ids]], "completion": [[ids]], "advantage": [...], "pad": id}) nothing is generated:
every step learns from that batch, padded as TRL pads it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

REPLIES = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever the libraries print goes to stderr


class Paced(TrainerCallback):
    """Holds the trainer between two steps until stdin asks for more."""

    def __init__(self) -> None:
        self.steps = self.completions = self.tokens = 0

    def reward(self, completions: list[str], completion_ids: list[list[int]], answer: list[str], **_: Any):
        """Exact match: the cheapest reward that is one. TRL has already cut the ids after the end token."""
        self.completions += len(completions)
        self.tokens += sum(map(len, completion_ids))
        return [float(made.strip() == wanted) for made, wanted in zip(completions, answer, strict=True)]

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._wait()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.steps -= 1
        if self.steps == 0:
            print(
                json.dumps({"completions": self.completions, "tokens": self.tokens}), file=REPLIES, flush=True
            )
            self._wait()

    def _wait(self) -> None:
        line = sys.stdin.readline()
        if not line:
            sys.exit()
        self.steps, self.completions, self.tokens = int(line), 0, 0


class Recorded(GRPOTrainer):
    """Learns from `batch` alone, completions in the order given."""

    batch: dict[str, torch.Tensor]

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, torch.Tensor]:
        return dict(self.batch)


def padded(recorded: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Prompts aligned right, completions left, as GRPOTrainer makes them."""

    def rectangle(rows: list[list[int]], *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), recorded["pad"])
        mask = torch.zeros_like(ids)
        for at, row in enumerate(rows):
            place = slice(width - len(row), width) if left else slice(len(row))
            ids[at, place], mask[at, place] = torch.tensor(row), 1
        return ids, mask

    prompt_ids, prompt_mask = rectangle(recorded["prompt"], left=True)
    completion_ids, completion_mask = rectangle(recorded["completion"], left=False)
    return {
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "completion_ids": completion_ids,
        "completion_mask": completion_mask,
        "advantages": torch.tensor(recorded["advantage"]),
        "num_items_in_batch": completion_mask.sum(),
    }


def main(folder: Path) -> None:
    settings = json.loads((folder / "settings.json").read_text())
    dtype = getattr(torch, settings.pop("weights"))
    paced = Paced()
    given = folder / "batch.json"
    trainer = (Recorded if given.is_file() else GRPOTrainer)(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=dtype),
        processing_class=AutoTokenizer.from_pretrained(folder),
        reward_funcs=paced.reward,
        train_dataset=Dataset.from_dict(json.loads((folder / "prompts.json").read_text())),
        args=GRPOConfig(output_dir=str(folder / "out"), **settings),
        callbacks=[paced],
    )
    if isinstance(trainer, Recorded):
        trainer.batch = padded(json.loads(given.read_text()))
    trainer.train()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
