"""A vLLM server, started as the documentation says: sampled from, given weights and played with over HTTP."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import torch
from runs_cli import ROOT, cli, environment, metrics
from safetensors.torch import load_file
from vllm_here import CLOSE, MARKS, assert_greedy_as_transformers, loaded, perturb, played, prompts

from azrl.engine import Request
from azrl.engine.vllm.engine import VllmEngine
from azrl.engine.vllm.server import ServerHost

pytestmark = MARKS
PRESET = str(ROOT / "config" / "cpu_vllm.yaml")
SERVE = [sys.executable, str(ROOT / "utils" / "serve_vllm.py"), "--config", PRESET]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the shipped tiny model."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*SERVE, f"engine.vllm.server={where}"], env=environment(), stdout=output, stderr=output
        )
    try:
        while not answers(where):
            assert server.poll() is None, log.read_text()
            time.sleep(0.5)
        yield where
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def answers(where: str) -> bool:
    try:
        with urlopen(f"{where}/health", timeout=5) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


def test_a_server_takes_weights_and_agrees_with_transformers(address: str, tmp_path: Path) -> None:
    model, tokenizer = loaded("tiny")
    exchange = tmp_path / "exchange"
    exchange.mkdir()
    host = ServerHost(address, exchange=str(exchange), connections=16, timeout_s=120)
    engine = VllmEngine(host, tokenizer, max_prompt_length=384)
    for seed in (0, 1):
        perturb(model, seed)
        engine.sync(dict(model.named_parameters()))
        assert_greedy_as_transformers(engine, model)
    assert list(exchange.iterdir()) == []
    requests = [Request(text, max_tokens=12, n=3, seed=i) for i, text in enumerate(prompts(6))]
    once, again = engine.generate(requests), engine.generate(requests)
    assert [[c.token_ids for c in group] for group in once] == [
        [c.token_ids for c in group] for group in again
    ]
    name = "model.layers.1.mlp.down_proj.weight"
    good = dict(model.named_parameters())
    with pytest.raises(ValueError, match=f"no weights for {name}"):
        engine.sync({key: value for key, value in good.items() if key != name})
    engine.sync(good)
    engine.dump(tmp_path)
    assert torch.equal(load_file(tmp_path / "vllm.safetensors")[name], good[name].detach())
    engine.close()
    engine.close()


def test_self_play_through_a_server(address: str, tmp_path: Path) -> None:
    words = ["--config", PRESET, "--name", "far", "--iterations", "2", f"engine.vllm.server={address}"]
    played(tmp_path, *words)
    rows = metrics(tmp_path / "runs" / "far")
    assert [row["step"] for row in rows] == [0, 1, 2]
    for row in rows[1:]:
        assert row["sync/worst"] <= CLOSE
        assert row["mismatch_kl"] < 1e-4


def test_a_port_in_use_is_said_in_one_line(address: str) -> None:
    ended = subprocess.run(
        [*SERVE, f"engine.vllm.server={address}"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr == f"engine.vllm.server: {address}: Address already in use; take another port\n"


def test_nothing_at_the_address_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = f"http://127.0.0.1:{port}"
    ended = cli(tmp_path, "--config", PRESET, f"engine.vllm.server={where}")
    assert ended.returncode == 2
    assert f"nothing answers at {where}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not any((tmp_path / "runs").iterdir())
