"""Two processes with a shard of the model each take the steps that one process takes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import sharded_worker
import torch
from safetensors.torch import load_file

from azrl.rl.ranks import ALONE

WORKER = Path(sharded_worker.__file__)
SOURCE = Path(__file__).parents[2] / "src"


def start(folder, rank, port):
    environment = os.environ | {
        "PYTHONPATH": str(SOURCE),
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(WORKER), str(folder)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Each scenario twice over six steps: in one process, and by two processes from the third step on."""
    folder, alone = tmp_path_factory.mktemp("sharded"), {}
    for name in sharded_worker.SCENARIOS:
        subject = sharded_worker.learner(name, ALONE)
        sharded_worker.play(subject)
        subject.save(folder / name / "single")
        metrics = sharded_worker.play(subject, sharded_worker.STEPS)
        sharded_worker.keep(folder / name / "alone", subject, metrics)
        alone[name] = subject
    port = free_port()
    workers = [start(folder, rank, port) for rank in range(2)]
    try:
        for worker in workers:
            _, said = worker.communicate(timeout=240)
            assert worker.returncode == 0, said
    finally:
        for worker in workers:
            worker.kill()
    return folder, alone


@pytest.mark.slow
@pytest.mark.parametrize("name", sharded_worker.SCENARIOS)
def test_two_processes_equal_one(played, name):
    folder = played[0] / name
    one, two = (load_file(folder / which / "weights.safetensors") for which in ("alone", "resumed"))
    assert one.keys() == two.keys()
    worst = max((one[key] - two[key]).abs().max().item() for key in one)
    assert worst <= 1e-5
    before = load_file(folder / "single" / "model.safetensors") if name != "adapters" else None
    if before is not None:
        assert max((one[key] - before[key]).abs().max().item() for key in before) > 1e-3
    told, heard = (json.loads((folder / which / "found.json").read_text()) for which in ("alone", "resumed"))
    for ours, theirs in zip(heard["metrics"], told["metrics"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)
    for ours, theirs in zip(heard["score"], told["score"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    assert (folder / "refused").exists()  # a batch that cannot be learned from ends neither process


@pytest.mark.slow
@pytest.mark.parametrize("name", sharded_worker.SCENARIOS)
def test_what_two_processes_saved_one_goes_on_from(played, name):
    """Optimizer parts are joined: the next step is the one that the single process takes."""
    folder, alone = played
    saved = sorted(path.name for path in (folder / name / "both").glob("optimizer*"))
    assert saved == ["optimizer-00001-of-00002.safetensors", "optimizer-00002-of-00002.safetensors"]
    subject = sharded_worker.learner(name, ALONE)
    subject.load(folder / name / "both")
    assert subject.version == alone[name].version
    sharded_worker.play(subject, 2 * sharded_worker.STEPS)
    sharded_worker.play(alone[name], 2 * sharded_worker.STEPS)
    for key, wanted in alone[name].weights().items():
        torch.testing.assert_close(subject.weights()[key], wanted, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_run_under_torchrun_ends_as_one_process_does(tmp_path):
    """The whole loop: the first process plays, both save, and an unsharded run goes on from what they left."""
    settings = ["--config", "config/smoke.yaml", f"paths.runs={tmp_path}", "run.name=two", "run.iterations=1"]
    small = ["selfplay.batch_size=4", "selfplay.practise=2", "selfplay.max_new_tasks=2", "probe.items=2"]
    small += [
        "selfplay.seed_batch_factor=1",
        "probe.samples=1",
        "selfplay.n_samples=2",
        "training.lora_rank=2",
    ]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    root = SOURCE.parent
    together = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    command = [sys.executable, *together, "main.py", *settings, *small]
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "two" / "checkpoints" / "step_1" / "model"
    assert len(list(folder.glob("optimizer-*-of-00002.safetensors"))) == 2
    alone = [sys.executable, "main.py", "--resume", str(tmp_path / "two"), "--iterations", "2"]
    ended = subprocess.run(alone, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    steps = [json.loads(line) for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps] == [0, 1, 2]
    assert all(row["sync/worst"] < 1.0 for row in steps[1:])
