"""The docker executor on a real daemon: right results, what the container holds, and who removes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from docker_here import gone, ours

from azrl.executor import Job, Limits, Status, open_executor
from azrl.executor.container import daemon, owner
from azrl.executor.container.box import Box, hardened
from azrl.executor.container.executor import DockerExecutor
from azrl.executor.container.options import Options

pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2]
DOUBLE = "def f(x):\n    return x * 2"
ENDLESS = "def f():\n    while True:\n        pass"


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    found = daemon.connect(None)
    yield found
    found.close()


@pytest.fixture(scope="module")
def executor(container: Options) -> Iterator[DockerExecutor]:
    with open_executor("docker", workers=1, container=container) as opened:
        assert isinstance(opened, DockerExecutor)
        yield opened


def test_jobs_of_all_kinds_end_as_they_must(executor: DockerExecutor) -> None:
    results = executor.run(
        [
            Job(DOUBLE, ("21", "'ab'", "None")),
            Job(ENDLESS, ("",), Limits(cpu_s=0.05)),
            Job("def f():\n    return len(bytearray(1 << 34))", ("",)),
            Job("def f(:", ("",)),
            Job("import os\ndef f():\n    os._exit(0)", ("",)),
            Job("def f(n):\n    return 'x' * n", ("7000", "8000"), variant=1),
        ]
    )
    assert [result.status for result in results] == [
        Status.OK, Status.TIMEOUT, Status.MEMORY, Status.ERROR, Status.CRASH, Status.OK,
    ]  # fmt: skip
    assert results[0].outputs == ("42", "'abab'", None)
    assert results[5].outputs == (repr("x" * 7000), repr("x" * 8000))


def test_a_large_job_and_many_at_once(executor: DockerExecutor) -> None:
    text = "y" * 8000
    [large] = executor.run([Job(DOUBLE.replace("x * 2", "x"), [f"'{text}{i}'" for i in range(400)])])
    assert large.outputs == tuple(f"'{text}{i}'" for i in range(400))
    results = executor.run([Job(DOUBLE, (str(i),), variant=i % 2) for i in range(300)])
    assert [result.outputs for result in results] == [(str(2 * i),) for i in range(300)]


def test_describe_names_what_holds(executor: DockerExecutor) -> None:
    said = executor.describe()
    assert said["backend"] == "docker"
    for layer in ("no capabilities", "no network", "a read-only root", "a seccomp profile", "no_new_privs"):
        assert layer in said["container"]
    assert "kernel" in said["not covered"]


PROBES = """
import ctypes, errno, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    made = libc.syscall(ctypes.c_long(number), *arguments)
    return "got through" if made >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(what):
    try:
        what()
        return "got through"
    except OSError as error:
        return errno.errorcode[error.errno]
buffer = ctypes.create_string_buffer(256)
files = "/x /tmp/x /dev/x /dev/shm/x /dev/mqueue/x /sandbox/x /etc/passwd /proc/sys/kernel/hostname"
found = {name: attempt(lambda path=name: open(path, "w")) for name in files.split()}
for family, name in ((2, "inet"), (10, "inet6"), (16, "netlink"), (17, "packet"), (38, "alg"), (40, "vsock")):
    found[name] = attempt(lambda: socket.socket(family, 2 if family == 2 else 1 if family == 10 else 3))
if os.uname().machine == "x86_64":
    for name, number, arguments in (
        ("unshare", 272, (0x10000000,)), ("mount", 165, (b"none", b"/tmp", b"tmpfs", 0, None)),
        ("ptrace", 101, (0, 0, 0, 0)), ("bpf", 321, (0, buffer, 64)), ("io_uring_setup", 425, (4, buffer)),
        ("keyctl", 250, (0, -3, 0)), ("userfaultfd", 323, (0,)), ("memfd_create", 319, (b"x", 0)),
        ("perf_event_open", 298, (buffer, 0, -1, -1, 0)), ("mq_open", 240, (b"/x", 0x42, 0o600, None)),
        ("process_vm_readv", 310, (1, buffer, 0, buffer, 0, 0)), ("shmget", 29, (0, 4096, 0o1600)),
        ("personality", 135, (0x40000,)), ("setns", 308, (0, 0)), ("chroot", 161, (b"/",)),
        ("open_by_handle_at", 304, (0, buffer, 0)), ("add_key", 248, (b"user", b"x", b"y", 1, -3)),
    ):
        found[name] = call(number, *arguments)
children = 0
try:
    for _ in range(200):
        if os.fork() == 0:
            while True:
                pass
        children += 1
    found["fork bomb"] = "got through"
except OSError as error:
    found["fork bomb"] = errno.errorcode[error.errno]
print(json.dumps(found), flush=True)
os._exit(0)
"""


def test_the_container_alone_stops_these(container: Options, client: docker.DockerClient) -> None:
    """The outer wall without the inner ones: a process in such a container, as if it had broken out of all."""
    settings = dict(hardened(container, 1)) | {
        "entrypoint": ["python3", "-I", "-c", PROBES],
        "stdin_open": False,
    }
    made = client.containers.create(container.image, **settings)
    stream = made.attach(stdout=True, stderr=True, stream=True, logs=False)
    made.start()
    said = b"".join(stream).decode()
    found = json.loads(said)
    assert len(found) > 30 or os.uname().machine != "x86_64"
    assert {name: end for name, end in found.items() if end == "got through"} == {}


def test_a_killed_container_costs_no_job(container: Options, client: docker.DockerClient) -> None:
    before = ours(client)
    with open_executor("docker", workers=1, container=container) as opened:
        assert isinstance(opened, DockerExecutor)
        killed = set()

        def kill() -> None:
            name = opened.box.container_id
            assert name is not None
            killed.add(name)
            client.api.kill(name)

        answers = run_and(opened, kill, every=90)
        assert answers == {i: str(i + 1) for i in range(400)}
        assert len(killed) == 4
    assert gone(client, before)


def test_killed_servers_inside_cost_no_job(container: Options, client: docker.DockerClient) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may kill processes of the container's user")
    with open_executor("docker", workers=1, container=container) as opened:
        assert isinstance(opened, DockerExecutor)

        def kill() -> None:
            top = client.api.top(opened.box.container_id, ps_args="-eo pid,args")
            os.kill(next(int(row[0]) for row in top["Processes"] if "server.py" in row[1]), signal.SIGKILL)

        assert run_and(opened, kill, every=90) == {i: str(i + 1) for i in range(400)}
        assert opened.metrics()["respawns"] >= 4


def run_and(executor: DockerExecutor, trouble: Callable[[], None], every: int) -> dict[int, str | None]:
    """Outputs of 400 jobs by index, each at most once, with trouble after every so many of them."""
    answers: dict[int, str | None] = {}
    for index, result in executor.stream(Job(f"def f(x):\n    return x + {i}", ("1",)) for i in range(400)):
        assert index not in answers
        answers[index] = result.outputs[0]
        if len(answers) % every == 0:
            trouble()
    return answers


TRAINER = """
import sys, time
from azrl.executor import Job, Limits, open_executor
from azrl.executor.container.options import Options
executor = open_executor("docker", workers=1, container=Options(image=sys.argv[1], workers=1))
print(executor.box.container_id, flush=True)
executor.run([Job("def f():\\n    while True:\\n        pass", ("",), Limits(cpu_s=100.0))])
"""


def test_a_killed_trainer_leaves_no_container(container: Options, client: docker.DockerClient) -> None:
    before = ours(client)
    trainer = subprocess.Popen(
        [sys.executable, "-c", TRAINER, container.image],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    assert trainer.stdout is not None
    name = trainer.stdout.readline().decode().strip()
    assert name in ours(client)
    trainer.kill()
    trainer.wait()
    trainer.stdout.close()
    assert gone(client, before, 15.0)


def test_orphans_are_swept_and_others_left(container: Options, client: docker.DockerClient) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from azrl.executor.container import owner; print(owner.this_process())"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    before = ours(client)
    orphan = client.containers.create(container.image, command="python3", labels={owner.LABEL: ended})
    other = client.containers.create(
        container.image, command="python3", labels={owner.LABEL: owner.this_process()}
    )
    foreign = client.containers.create(
        container.image, command="python3", labels={owner.LABEL: "another machine"}
    )
    try:
        with open_executor("docker", workers=1, container=container):
            left = ours(client)
        assert orphan.id not in left
        assert other.id in left
        assert foreign.id in left
    finally:
        other.remove(force=True)
        foreign.remove(force=True)
    assert gone(client, before)


def test_auto_takes_docker_where_it_works_and_else_says_why(container: Options) -> None:
    with open_executor("auto", workers=1, container=container) as opened:
        assert opened.name == "docker"
        assert "strongest" in opened.describe()["chosen"]
    with open_executor("auto", workers=1, container=replace(container, image="azrl-no-such-image")) as opened:
        assert opened.name == "process"
        assert "no image 'azrl-no-such-image'" in opened.describe()["chosen"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("executor.image=azrl-no-such-image", "make it by `python main.py sandbox build`"),
        ("executor.image=Not:An:Image", "no image's name"),
        ("executor.runtime=azrl-no-such-runtime", "does not know the runtime"),
    ],
)
def test_what_is_wrong_with_docker_is_said(container: Options, setting: str, message: str) -> None:
    done = sandbox("check", f"executor.image={container.image}", setting)
    assert (done.returncode, message in done.stderr, "Traceback" in done.stderr) == (2, True, False), (
        done.stderr
    )


def test_an_image_without_python_or_relay_is_said(container: Options, client: docker.DockerClient) -> None:
    for keep, message in (
        ("nothing", "has no `python3`"),
        ("python", "runs no relay: python3: can't open file"),
    ):
        name = f"azrl-unfit-{keep}"
        if keep == "nothing":
            import io
            import tarfile

            empty = io.BytesIO()
            with tarfile.open(fileobj=empty, mode="w") as tar:
                tar.addfile(tarfile.TarInfo("x"))
            client.api.import_image_from_data(empty.getvalue(), repository=name)
        else:
            made = client.containers.create(
                container.image,
                entrypoint=["python3", "-c", "import shutil; shutil.rmtree('/sandbox')"],
                network_mode="none",
            )
            made.start()
            made.wait()
            made.commit(repository=name)
            made.remove()
        try:
            done = sandbox("check", f"executor.image={name}")
        finally:
            client.images.remove(name, force=True)
        assert (done.returncode, message in done.stderr, "Traceback" in done.stderr) == (2, True, False), (
            done.stderr
        )


def test_close_is_idempotent_and_leaves_nothing(container: Options, client: docker.DockerClient) -> None:
    before = ours(client)
    box = Box(container)
    box.link()
    assert ours(client) - before == {box.container_id}
    box.close()
    box.close()
    assert gone(client, before)


def sandbox(*words: str) -> subprocess.CompletedProcess[str]:
    """`python main.py sandbox ...`, words with later settings first."""
    settings = {word.partition("=")[0]: word for word in words if "=" in word}
    orders = [word for word in words if "=" not in word]
    command = [sys.executable, str(ROOT / "main.py"), "sandbox", *orders, *settings.values()]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
