"""One of several processes that train together: RANK, WORLD_SIZE and MASTER_* as torchrun sets them.

    python sharded_worker.py FOLDER

The first process plays each scenario of `SCENARIOS` through a `Leader`; what it came to goes into FOLDER.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

import torch
from plain_policy import advantages, build, draw
from safetensors.torch import save_file

from azrl.config.schema import Training
from azrl.rl.follow import Leader, dismiss, follow
from azrl.rl.learner import TorchLearner
from azrl.rl.ppo import PPOLearner
from azrl.rl.ranks import Ranks
from azrl.rl.types import NonFinite, Sample

COMMON = {"learning_rate": 1e-3, "minibatches": 2, "ppo_epochs": 2, "micro_batch_tokens": 60}
SCENARIOS = {
    "full": ("qwen2", {"batching": "packed", "head_tokens": 9, "use_kl": True, "entropy_coeff": 0.01}),
    "shared": ("llama", {"gradient_checkpointing": True, "loss": "sequence_mean"}),
    "values": ("qwen2", {"rl_algorithm": "PPO", "use_kl": True, "kl_in_reward": True, "batching": "packed"}),
    "adapters": ("qwen3", {"lora_rank": 2, "batching": "padded", "use_kl": True, "optimizer_offload": True}),
}
STEPS = 3


def learner(name: str, ranks: Ranks) -> TorchLearner | PPOLearner:
    kind, settings = SCENARIOS[name]
    made = PPOLearner if settings.get("rl_algorithm") == "PPO" else TorchLearner
    return made(build(kind), Training(**COMMON, **settings), pad_id=0, ranks=ranks, seed=5)


def samples(seed: int) -> list[Sample]:
    drawn = draw(13, seed=seed)
    worth = advantages("reinforce++", drawn)
    return [Sample(*row[:3], float(a), row[4]) for row, a in zip(drawn, worth, strict=True)]


def play(subject, first: int = 0) -> list[dict[str, float]]:
    return [subject.update(samples(seed), seed=seed) for seed in range(first, first + STEPS)]


def keep(folder: Path, subject, metrics) -> None:
    weights = subject.weights()
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: weights[name].contiguous() for name in weights}, folder / "weights.safetensors")
    found = {"metrics": metrics, "score": subject.score([((1, 2, 3), (4, 5)), ((7,), (8, 9, 1))])}
    (folder / "found.json").write_text(json.dumps(found))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    ranks = Ranks.join("cpu")
    for name in SCENARIOS:
        subject = learner(name, ranks)
        if ranks.rank > 0:
            follow(subject, ranks)
            continue
        leader = Leader(subject, ranks)
        leader.load(folder / name / "single")  # what one process saved after STEPS steps
        metrics = play(leader, STEPS)
        leader.save(folder / name / "both")
        keep(folder / name / "resumed", leader, metrics)
        bad = samples(0)
        bad[0] = Sample(bad[0].prompt_ids, bad[0].token_ids, bad[0].logprobs, float("nan"), bad[0].cell)
        try:
            leader.update(bad, seed=0)
        except NonFinite:
            (folder / name / "refused").touch()
        dismiss(ranks)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]))
