"""The Docker daemon itself dies under the executor: no verdict comes of it, and a new daemon is taken up."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from azrl.executor import Job, Status, open_executor
from azrl.executor.container.build import build
from azrl.executor.container.options import Options

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("dockerd") is None,
        reason="needs root and dockerd, to kill one of its own",
    ),
]
JOBS = [Job(f"def f(x):\n    return x + {i}", ("1",)) for i in range(20)]


class Daemon:
    """A daemon of the test's own, with all that it keeps in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.address = f"unix://{folder}/docker.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        containerd = self.folder / "exec" / "containerd" / "containerd.pid"
        while containerd.exists() and Path("/proc", containerd.read_text().strip()).exists():
            time.sleep(
                0.1
            )  # it ends soon after a killed daemon; until then a new one would wait for it in vain
        for name in ("docker.sock", "pid", "log", "exec/containerd/containerd.pid"):
            (self.folder / name).unlink(missing_ok=True)
        folder = str(self.folder)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec",
                 "--pidfile", f"{folder}/pid", "--host", self.address,
                 "--bridge=none", "--iptables=false", "--ip6tables=false"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        for _ in range(600):
            if b"API listen on" in (self.folder / "log").read_bytes():
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        pytest.skip(f"dockerd does not start here: {(self.folder / 'log').read_text()[-300:]}")

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        for path in Path("/proc").glob("[0-9]*/cmdline"):  # what a killed daemon leaves to its successor
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if str(self.folder).encode() in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in reversed([place for place in mounts if place.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "--lazy", mount], check=True)
        shutil.rmtree(self.folder)


@pytest.fixture
def own_daemon() -> Iterator[Daemon]:
    made = Daemon(Path(tempfile.mkdtemp(prefix="azrl-docker-")))  # short: a socket's path may have 107 bytes
    try:
        made.start()
        yield made
    finally:
        made.end()


def test_a_killed_daemon_gives_no_verdict_and_a_new_one_is_taken_up(own_daemon: Daemon) -> None:
    build("azrl-sandbox", own_daemon.address)
    with open_executor(
        "docker", workers=1, container=Options(host=own_daemon.address, workers=1)
    ) as executor:
        assert all(result.status is Status.OK for result in executor.run(JOBS))
        assert own_daemon.process is not None
        own_daemon.process.kill()
        own_daemon.process.wait()
        started = time.monotonic()
        results = executor.run(JOBS)
        assert {result.status for result in results} == {Status.INFRA}
        assert {result.outputs for result in results} == {(None,)}
        assert time.monotonic() - started < 30
        own_daemon.start()
        results = executor.run(JOBS)
        assert [result.outputs for result in results] == [(str(i + 1),) for i in range(20)]
