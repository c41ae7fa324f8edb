"""Each layer of isolation for itself: what it holds on this machine, and that a missing one is said and refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from azrl.config.executor import ExecutorSection, LayerName
from azrl.errors import UserError
from azrl.executor import Job, Limits, Status, layers, open_executor
from azrl.executor.crew import PoolSettings
from azrl.executor.process import ProcessExecutor

ROOT = Path(__file__).resolve().parents[2]
SANDBOX = ROOT / "sandbox"
INNER = ("capabilities", "landlock", "namespaces", "rlimits", "root", "seccomp", "user")
HONEST = Job("def f(x):\n    return sorted(x)", ("[3, 1, 2]",))
# In a process of its own: first lose what a container does not give, then open the executor and tell.
TELL = """
import json, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
denied = sys.argv[3].split(",") if sys.argv[3] else []
if denied:
    import ctypes
    from bpf import EQUAL, LOAD, RETURN, assemble
    from kernel import libc, number, syscall
    numbers = {"chroot": 161 if number("read") == 0 else 51, "capset": 126 if number("read") == 0 else 91}
    code = assemble([(LOAD, 0)] + [(EQUAL, numbers.get(n) or number(n), "no", None) for n in denied]
                    + [(RETURN, 0x7FFF0000), "no", (RETURN, 0x50001)])
    text = ctypes.create_string_buffer(code, len(code))
    head = len(code).__floordiv__(8).to_bytes(8, "little") + ctypes.addressof(text).to_bytes(8, "little")
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    syscall("seccomp", ctypes.c_long(1), ctypes.c_long(0), ctypes.create_string_buffer(head, 16))
from azrl.errors import UserError
from azrl.executor import Job, Limits, open_executor
try:
    with open_executor("process", workers=1, minimum_layers=json.loads(sys.argv[4])) as executor:
        jobs = [Job("def f(x):\\n    return sorted(x)", ("[3, 1, 2]",)),
                Job("def f():\\n    while True: pass", ("",), Limits(cpu_s=0.05))]
        print(json.dumps([executor.describe(), [(r.status, r.outputs) for r in executor.run(jobs)]]))
except UserError as error:
    print(json.dumps([str(error), []]))
"""


def tell(user: int | None, denied: str = "", minimum: tuple[str, ...] = layers.MINIMUM):
    """What an executor says of itself when `user` (None: as we are) opens it without the calls `denied`."""
    usable = [sys.executable, "/usr/bin/python3"]
    if user is not None:
        if os.geteuid() != 0:
            pytest.skip("only root can become another user")
        usable = [python for python in usable if _runs_as(user, python)]
        if not usable:
            pytest.skip("no Python here that another user may run")
    command = [usable[0], "-B", "-c", TELL, str(ROOT / "src"), str(SANDBOX), denied, json.dumps(minimum)]
    return json.loads(_as(user, command).stdout)


def _as(user: int | None, command: list[str]) -> subprocess.CompletedProcess[str]:
    other = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/", env={}, **other)  # type: ignore[call-overload,no-any-return]


def _runs_as(user: int, python: str) -> bool:
    try:
        script = (
            f"import sys; open({str(ROOT / 'src/azrl/errors.py')!r}); sys.exit(sys.version_info < (3, 11))"
        )
        _as(user, [python, "-c", script])
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def test_an_ordinary_user_without_capabilities_has_all_but_another_user() -> None:
    described, results = tell(60_000)
    assert results == [["ok", ["[1, 2, 3]"]], ["timeout", [None]]]
    assert "no root user" in described["missing user"]
    for name in ("limits", "no_new_privs", "rlimits", "seccomp", "capabilities", "lifeline"):
        assert f"layer {name}" in described


@pytest.mark.parametrize("user", [None, 60_000])
def test_a_container_that_refuses_namespaces_and_landlock_is_reported(user: int | None) -> None:
    described, results = tell(user, "unshare,landlock_create_ruleset,chroot")
    assert results == [["ok", ["[1, 2, 3]"]], ["timeout", [None]]]
    for name in ("namespaces", "landlock", "root"):
        assert described[f"missing {name}"]
    assert "layer seccomp" in described


@pytest.mark.parametrize("denied", ["landlock_create_ruleset", "seccomp"])
def test_a_missing_layer_of_the_minimum_is_an_error_that_helps(denied: str) -> None:
    name = denied.partition("_")[0]
    message, results = tell(None, denied, (*layers.MINIMUM, "landlock"))
    assert results == []
    assert f"{name} (" in message
    assert "Operation not permitted" in message
    assert layers.LAYERS[name].needs in message
    assert "minimum_layers" in message


def test_without_seccomp_it_starts_only_if_the_configuration_says_so() -> None:
    described, results = tell(None, "seccomp", ("limits",))
    assert "Operation not permitted" in described["missing seccomp"]
    assert results == [["ok", ["[1, 2, 3]"]], ["timeout", [None]]]


def test_names_of_layers_are_one_list() -> None:
    assert set(get_args(LayerName)) == set(layers.LAYERS)
    assert set(ExecutorSection().minimum_layers) == set(layers.MINIMUM)
    with open_executor("process", workers=1) as executor:
        said = {key.split()[1] for key in executor.describe() if key.startswith(("layer ", "missing "))}
    assert said == set(layers.LAYERS)
    with pytest.raises(UserError, match="names rootkit"):
        open_executor("process", minimum_layers=("rootkit",))


def test_a_later_server_may_not_have_less_than_the_first() -> None:
    promise = layers.Promise(("limits",))
    promise.take(layers.Layers({"limits": "", "landlock": ""}, {}))
    with pytest.raises(UserError, match="landlock \\(ran out"):
        promise.take(layers.Layers({"limits": ""}, {"landlock": "ran out"}))


def test_the_child_is_what_the_report_says() -> None:
    """Read from outside, while a program runs."""
    with open_executor("process", workers=1) as executor:
        assert isinstance(executor, ProcessExecutor)
        found: dict[str, str] = {}
        spin = Job("def f():\n    while True: pass", ("",), Limits(cpu_s=0.5))
        for _, result in executor.stream(_watched(executor, spin, found)):
            assert result.status is Status.TIMEOUT
        described = executor.describe()
    assert (found["Seccomp"], found["NoNewPrivs"]) == ("2", "1")
    assert found["CapEff"] == found["CapPrm"] == "0" * 16
    assert int(found["Threads"]) == 1
    assert set(found.get("fds", "").split()) <= {"0", "1", "2", "3"}
    if "layer user" in described:
        assert found["Uid"].split()[0] not in ("0", str(os.getuid()))
    if "root" in found and "layer root" in described:
        assert "(deleted)" in found["root"]
    if "net" in found and "layer namespaces" in described:
        assert found["net"] != os.readlink("/proc/self/ns/net")


def _watched(executor: ProcessExecutor, job: Job, found: dict[str, str]):
    """The job, and then a look at its process from the thread that feeds the executor."""
    yield job
    deadline = time.monotonic() + 10
    while not found:
        assert time.monotonic() < deadline
        for pid in executor.server_pids():
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                status = Path(f"/proc/{child}/status").read_text()
                if "Seccomp:\t2" in status:
                    found.update(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
                    if os.geteuid() == 0:
                        found["root"] = os.readlink(f"/proc/{child}/root")
                        found["net"] = os.readlink(f"/proc/{child}/ns/net")
                        found["fds"] = " ".join(os.listdir(f"/proc/{child}/fd"))


def test_a_stopped_thread_does_not_end_servers_and_a_killed_host_does() -> None:
    code = """
import sys, threading, time
from azrl.executor import Job, Limits, open_executor
made = []
starter = threading.Thread(target=lambda: made.append(open_executor("process", workers=1)))
starter.start(); starter.join(); time.sleep(0.2)
executor = made[0]
assert executor.run([Job("def f():\\n    return 1", ("",))])[0].outputs == ("1",)
print(*executor.server_pids(), flush=True)
executor.run([Job("def f():\\n    while True: pass", ("",), Limits(cpu_s=30.0))])
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as host:
        assert host.stdout is not None
        [server] = host.stdout.readline().split()
        deadline = time.monotonic() + 10
        while not (children := Path(f"/proc/{int(server)}/task/{int(server)}/children").read_text().split()):
            assert time.monotonic() < deadline
        host.send_signal(signal.SIGKILL)
    while any(_alive(int(pid)) for pid in (server, *children)):
        assert time.monotonic() < deadline + 5
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_with_the_inner_layers_off_attacks_succeed() -> None:
    """The negative control: without it a test that can only pass would look the same."""
    bodies = (
        "os.stat('/')",
        "os.pipe()",
        "open('/etc/passwd').read(1)",
        "os.kill(os.getpid(), 0)",
        "os.dup(0)",
    )
    jobs = [Job(f"import os\ndef f():\n    {body}\n    return 'in'", ("",)) for body in bodies]
    with ProcessExecutor(PoolSettings(1), minimum=(), without=INNER) as open_:
        assert [result.outputs for result in open_.run(jobs)] == [("'in'",)] * len(jobs)
        assert open_.describe()["missing seccomp"] == "switched off"
    with ProcessExecutor(PoolSettings(1)) as closed:
        assert {result.status for result in closed.run(jobs)} == {Status.ERROR}
        assert closed.run([HONEST])[0].outputs == ("[1, 2, 3]",)
