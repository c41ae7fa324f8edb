"""One run in the several processes that `torchrun` starts: the first plays it, the others hold shards and follow.

    torchrun --nproc-per-node 2 main.py --config ...

All processes must see the same files: checkpoints are written and read by all of them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import torch
import torch.distributed as dist

from azrl.config.schema import Config
from azrl.errors import UserError
from azrl.rl.follow import dismiss, follow
from azrl.rl.ranks import Ranks
from azrl.selfplay.compose import build_learner
from azrl.selfplay.train import train as play


def train(config: Config, *, resume: str | None, checkpoint: str | None, command: Sequence[str]) -> int:
    """As `selfplay.train.train`, in every process; the exit code is the first one's, the others' is 0."""
    if config.engine.backend == "scripted":
        raise UserError("engine.backend=scripted trains nothing: run it in one process, without torchrun")
    cuda = torch.cuda.is_available() and config.engine.device != "cpu"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    ranks = Ranks.join("cuda" if cuda else "cpu")
    try:
        if ranks.rank == 0:
            try:
                return play(config, resume=resume, checkpoint=checkpoint, command=command, ranks=ranks)
            finally:
                dismiss(ranks)
        # The first process ends the run with a checkpoint, and needs the others for it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        follow(build_learner(config, ranks=ranks), ranks)
        return 0
    finally:
        if not ranks.apart:
            dist.destroy_process_group()
