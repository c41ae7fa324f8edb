"""The docker executor's parts that need no daemon: the stream, the image, the demands, and what errors say."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azrl.errors import UserError
from azrl.executor.container import daemon, image, link, owner
from azrl.executor.container.box import demand, hardened
from azrl.executor.container.options import Options

ROOT = Path(__file__).parents[2]
SOUND = {
    "guest": image.guest_digest(), "python": "3.11.7", "kernel": "6.1", "uid": 65534, "capabilities": [0, 0, 0, 0],
    "no_new_privs": "1", "seccomp": "2", "interfaces": ["lo"], "root_read_only": True, "writable": [],
}  # fmt: skip


def framed(kind: int, number: int, body: bytes = b"") -> bytes:
    return link.HEAD.pack(len(body), kind, number) + body


def docker_framed(data: bytes, stream: int = 1) -> bytes:
    return struct.pack(">BxxxI", stream, len(data)) + data


class Far:
    """The far end of a link's stream."""

    def __init__(self) -> None:
        ours, self.socket = socket.socketpair()
        self.link = link.Link(ours)

    def write(self, data: bytes, stream: int = 1) -> None:
        self.socket.sendall(docker_framed(data, stream))

    def close(self) -> None:
        self.socket.close()
        self.link.close()


@pytest.fixture
def far() -> Iterator[Far]:
    made = Far()
    yield made
    made.close()


def take(box: link.Mailbox, seconds: float = 5.0) -> tuple[int, bytes]:
    """The next frame, for which the mailbox's descriptor must poll readable."""
    assert select.select([box.fileno()], [], [], seconds)[0]
    frame = box.take()
    assert frame is not None
    return frame


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([link.GREETING, link.DATA, link.DONE]), st.binary(max_size=300)), max_size=8
    ),
    st.lists(st.integers(1, 40), min_size=1),
)
def test_frames_arrive_whole_however_they_are_cut(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    far, box = Far(), link.Mailbox()
    try:
        number = far.link.open(box)
        stream = framed(link.HELLO, 0, b"{}") + b"".join(framed(kind, number, body) for kind, body in frames)
        at = 0
        while at < len(stream):
            size = cuts[at % len(cuts)]
            far.write(stream[at : at + size])
            at += size
        assert far.link.hello(5.0) == {}
        assert [take(box) for _ in frames] == frames
        assert not select.select([box.fileno()], [], [], 0)[0]
        assert box.take() is None
    finally:
        far.close()


def test_frames_go_out_as_the_relay_reads_them(far: Far) -> None:
    number = far.link.open(link.Mailbox())
    far.link.send(link.JOB, number, b"ab", b"c")
    assert far.socket.recv(100) == framed(link.JOB, number, b"abc")


def test_the_end_of_the_stream_is_told_to_all_and_to_those_who_come_later(far: Far) -> None:
    first, later = link.Mailbox(), link.Mailbox()
    far.link.open(first)
    far.socket.close()
    assert take(first) == (link.LOST, b"")
    far.link.open(later)
    assert take(later) == (link.LOST, b"")
    with pytest.raises(link.LinkLost):
        far.link.send(link.JOB, 1)


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 64, framed(99, 1), struct.pack("<IBI", 1 << 31, link.DATA, 1), b"Traceback (most recent"],
)
def test_what_is_no_relay_is_lost_not_believed(far: Far, garbage: bytes) -> None:
    box = link.Mailbox()
    far.link.open(box)
    far.write(garbage)
    assert take(box) == (link.LOST, b"")
    with pytest.raises(link.LinkLost, match="no relay"):
        far.link.hello(5.0)


def test_what_the_container_says_on_standard_error_is_the_reason(far: Far) -> None:
    far.write(b"python3: can't open file\n", stream=2)
    far.socket.close()
    with pytest.raises(link.LinkLost, match="can't open file"):
        far.link.hello(5.0)


def test_a_silent_container_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "BEAT_SECONDS", 0.05)
    silent, box = Far(), link.Mailbox()
    silent.link.open(box)
    assert take(box) == (link.LOST, b"")
    beats = silent.socket.recv(1000)
    assert set(link.HEAD.iter_unpack(beats)) == {(0, link.BEAT, 0)}
    silent.close()


def test_a_container_that_answers_beats_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "BEAT_SECONDS", 0.05)
    alive = Far()
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        assert alive.socket.recv(link.HEAD.size)
        alive.write(framed(link.BEAT, 0))
    assert not alive.link.lost
    alive.close()


def test_a_sound_container_is_accepted() -> None:
    demand(SOUND, Options())
    demand(
        SOUND | {"seccomp": "0", "no_new_privs": None}, Options(runtime="runsc")
    )  # its own kernel's affair


@pytest.mark.parametrize(
    ("fact", "lacking"),
    [
        ({"uid": 0}, "another user than root"),
        ({"capabilities": [0, 0, 0x20, 0]}, "no capabilities"),
        ({"interfaces": ["lo", "eth0"]}, "no network"),
        ({"root_read_only": False}, "a read-only root"),
        ({"writable": ["/tmp"]}, "nothing writable"),
        ({"no_new_privs": "0"}, "no_new_privs"),
        ({"seccomp": "0"}, "a seccomp profile"),
        ({"guest": "0" * 64}, "other guest code"),
    ],
)
def test_a_container_that_lacks_a_layer_gets_no_work(fact: dict[str, Any], lacking: str) -> None:
    with pytest.raises(UserError, match=lacking):
        demand(SOUND | fact, Options())


def test_the_settings_grow_with_the_workers() -> None:
    small, large = Options(workers=1, memory_mb=100), Options(workers=4, memory_mb=100)
    assert (small.container_mb, large.container_mb) == (256 + 400, 256 + 1600)
    assert hardened(large, 3)["nano_cpus"] == 3 * 10**9
    assert (large.cpus(2), large.cpus(64)) == (2, 5)


def test_the_profile_is_what_its_script_writes() -> None:
    script = ROOT / "utils" / "build_container_seccomp.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    profile = json.loads((ROOT / "sandbox" / "container-seccomp.json").read_text())
    allowed = {
        name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]
    }
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert not allowed & {
        "ptrace", "mount", "unshare", "setns", "bpf", "io_uring_setup", "keyctl", "userfaultfd", "perf_event_open",
        "process_vm_readv", "process_vm_writev", "pidfd_getfd", "open_by_handle_at", "connect", "bind", "accept",
        "memfd_create", "init_module", "kexec_load", "mq_open", "shmget", "personality", "chroot", "pivot_root",
    }  # fmt: skip


def test_the_image_holds_a_python_that_runs_the_guest(tmp_path: Path) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    image.write_root(first)
    image.write_root(second)
    assert first.getvalue() == second.getvalue()
    first.seek(0)
    with tarfile.open(fileobj=first) as tar:
        names = set(tar.getnames())
        assert {entry.uid for entry in tar} == {0}
        assert not [entry.name for entry in tar if entry.mode & 0o6022 and not entry.issym()]
    assert {f"sandbox/{path.name}" for path in (ROOT / "sandbox").glob("*.py")} <= names
    assert not [name for name in names if "site-packages" in name]
    for module in ("decimal.py", "json/__init__.py", "encodings/idna.py"):
        assert any(name.endswith(f"/{module}") for name in names)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run in another root folder")
def test_the_image_is_enough_to_run_python_in(tmp_path: Path) -> None:
    with (tmp_path / "root.tar").open("wb") as file:
        image.write_root(file)
    (tmp_path / "root").mkdir()
    subprocess.run(["tar", "-xf", str(tmp_path / "root.tar"), "-C", str(tmp_path / "root")], check=True)
    script = "import ctypes, decimal, json, ssl, unicodedata, sys; print(sys.version)"
    done = subprocess.run(
        [shutil.which("chroot") or "chroot", str(tmp_path / "root"), "/usr/bin/python3", "-S", "-B", "-c", script],
        env={}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == (sys.version, "")


def test_owners_are_told_apart() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from azrl.executor.container import owner; print(owner.this_process())"],
        env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert owner.is_gone(ended)
    assert not owner.is_gone(owner.this_process())
    world, _, process = owner.this_process().partition(" pid ")
    assert owner.is_gone(f"{world} pid {process.split()[0]} 1")  # the number is in use again
    for foreign in ("", "another machine", f"other {process}", f"0{world} pid {process}", f"{world} pid x 1"):
        assert not owner.is_gone(foreign)


def test_a_missing_daemon_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with pytest.raises(
        UserError, match=r"no Docker daemon at unix://.*/no.sock \(No such file or directory\): start"
    ):
        daemon.connect(None)
    with pytest.raises(UserError, match="no Docker daemon at nonsense"):
        daemon.connect("nonsense")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user without permission")
def test_a_closed_socket_is_said_plainly(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setresuid(65534, 65534, 65534)
                daemon.connect(f"unix://{path}")
            except UserError as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        os.close(writer)
        with os.fdopen(reader) as said:
            assert said.read().startswith(
                f"no permission to use the Docker daemon at unix://{path}: add this user"
            )
