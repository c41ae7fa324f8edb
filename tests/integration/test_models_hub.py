"""Models that the hub does not give: a small server speaks as the hub does, and the real client asks it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from runs_cli import environment

ANSWERS = {"gated": (403, "GatedRepo"), "absent": (401, "RepoNotFound")}
SCRIPT = """
import sys
from azrl.errors import UserError
from azrl.models.load import load_model
for name in sys.argv[1:]:
    try:
        load_model(name)
    except UserError as error:
        print(error)
"""


class Hub(BaseHTTPRequestHandler):
    """Refuses each repository in the way of its name."""

    def do_GET(self) -> None:
        status, code = next((a for name, a in ANSWERS.items() if name in self.path), (404, "EntryNotFound"))
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def hub() -> Iterator[str]:
    """The address of the server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def refused(folder: Path, address: str, *names: str, offline: bool = False) -> list[str]:
    """What `load_model` says of each name."""
    own = {"HF_ENDPOINT": address, "HF_HOME": str(folder), "HF_HUB_OFFLINE": str(int(offline))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names],
        env=environment() | own, capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_what_the_hub_refuses_is_said_with_what_to_do(tmp_path: Path, hub: str) -> None:
    gated, absent = refused(tmp_path, hub, "org/gated", "org/absent")
    assert gated.startswith(
        "model.name: 'org/gated' cannot be loaded: it is gated: accept its terms at https://"
    )
    assert "hf auth login" in gated
    assert "the hub has no such model, or it is private" in absent


def test_a_model_that_is_not_here_without_a_connection(tmp_path: Path, hub: str) -> None:
    [said] = refused(tmp_path, hub, "org/any", offline=True)
    assert "its files are not here and the hub does not give them" in said
    assert "hf download org/any --local-dir FOLDER" in said
