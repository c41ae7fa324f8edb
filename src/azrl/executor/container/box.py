"""The hardened container: how it is made, what it must prove of itself before it gets work, and how it goes."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import uuid
from collections.abc import Mapping
from typing import Any

from docker.errors import DockerException, NotFound
from docker.models.containers import Container
from docker.types import LogConfig, Ulimit

from azrl.errors import UserError
from azrl.executor.container import daemon, owner
from azrl.executor.container.image import guest_digest
from azrl.executor.container.link import Link, LinkLost
from azrl.executor.container.options import Options
from azrl.executor.guest import guest_file

START_SECONDS = 30.0
_ENTRY = ["python3", "-S", "-B", "-P", "-s", "/sandbox/relay.py"]
_NOBODY = 65534


class Box:
    """One container at a time behind one link; a new one when the old is lost. Thread-safe."""

    def __init__(self, options: Options):
        self._options = options
        self._where = daemon.address(options.host)
        self._client = daemon.connect(options.host)
        self._lock = threading.Lock()
        self._container: Container | None = None
        self._link: Link | None = None
        self._closed = False
        self._cpus = 0
        self.facts: dict[str, Any] = {}
        """What the relay saw of its own confinement."""

    @property
    def container_id(self) -> str | None:
        """The running container's id, or None."""
        return self._container.id if self._container else None

    def link(self) -> Link:
        """The link to a running container, which is started if need be. Raises UserError."""
        with self._lock:
            if self._closed:
                raise UserError("the executor is closed")
            if self._link is None or self._link.lost:
                self._discard()
                self._start()
            assert self._link is not None
            return self._link

    def describe(self) -> dict[str, str]:
        """Image, limits and layers; starts a container if none runs. Raises UserError."""
        self.link()
        options, facts = self._options, self.facts
        found = self._container.image if self._container else None
        return {
            "image": f"{options.image} ({found.short_id})" if found else options.image,
            "daemon": self._where,
            "runtime": options.runtime or "the daemon's own",
            "python": facts["python"],
            "kernel": facts["kernel"],
            "user": f"uid {facts['uid']}",
            "container": ", ".join(layers(facts, options)),
            "limits": f"{options.container_mb} MB of memory and no swap, {options.processes} processes, "
            f"{self._cpus} cores",
        }

    def close(self) -> None:
        """Remove the container; idempotent."""
        with self._lock:
            self._closed = True
            self._discard()
            self._client.close()

    def sweep(self) -> list[str]:
        """Remove containers whose owner is gone; their ids."""
        removed = []
        with daemon.explained(self._where):
            for found in self._client.containers.list(
                all=True, filters={"label": owner.LABEL}, ignore_removed=True
            ):
                if owner.is_gone(found.labels.get(owner.LABEL, "")):
                    _remove(found)
                    removed.append(str(found.id))
        return removed

    def _start(self) -> None:
        try:
            with daemon.explained(self._where, self._options.image):
                self._cpus = self._options.cpus(int(self._client.info()["NCPU"]))
                settings = hardened(self._options, self._cpus)
                self._container = self._client.containers.create(self._options.image, **settings)
                stream = self._container.attach_socket(
                    params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
                )
                self._link = Link(_socket_of(stream))
                self._container.start()
            try:
                self.facts = self._link.hello(START_SECONDS)
            except LinkLost as error:
                raise UserError(
                    f"the container of image {self._options.image!r} runs no relay: {error}; make a fit image by "
                    f"`{daemon.BUILD}`, or set executor.image"
                ) from error
            demand(self.facts, self._options)
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        if self._link:
            self._link.close()
            self._link = None
        if self._container:
            _remove(self._container)
            self._container = None


def hardened(options: Options, cpus: int) -> Mapping[str, Any]:
    """The container's settings: nothing writable, no network, no rights, and bounds on all it can use up."""
    memory = f"{options.container_mb}m"
    seccomp = json.dumps(json.loads(guest_file("container-seccomp.json").read_text()))
    return {
        "entrypoint": _ENTRY,
        "command": [],
        "name": f"azrl-sandbox-{uuid.uuid4().hex[:12]}",
        "labels": {owner.LABEL: owner.this_process()},
        "auto_remove": True,
        "stdin_open": True,
        "runtime": options.runtime,
        "user": f"{_NOBODY}:{_NOBODY}",
        "working_dir": "/",
        "hostname": "sandbox",
        "network_mode": "none",
        "ipc_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges", f"seccomp={seccomp}"],
        "mem_limit": memory,
        "memswap_limit": memory,
        "pids_limit": options.processes,
        "nano_cpus": cpus * 10**9,
        "ulimits": [
            Ulimit(name=name, soft=value, hard=value)
            for name, value in {
                "nofile": 64 + 4 * options.servers,
                "core": 0,
                "fsize": 0,
                "memlock": 0,
                "msgqueue": 0,
            }.items()
        ],
        "log_config": LogConfig(type=LogConfig.types.NONE),
    }


def demand(facts: Mapping[str, Any], options: Options) -> None:
    """Raises UserError naming every layer that the container, seen from inside, does not have. Under another
    runtime the seccomp profile is that runtime's affair, and the kernel is not the host's."""
    if facts.get("guest") != guest_digest():
        raise UserError(
            f"the image {options.image!r} holds other guest code than this checkout's sandbox/: "
            f"make it anew by `{daemon.BUILD}`"
        )
    lacking = [what for what, holds in layers(facts, options).items() if not holds]
    if lacking:
        raise UserError(
            f"the container of image {options.image!r} lacks {', '.join(lacking)}; what it has is no sandbox, "
            "and nothing runs in it"
        )


def layers(facts: Mapping[str, Any], options: Options) -> dict[str, bool]:
    """Each layer that every container must have, and whether this one has it."""
    found = {
        "another user than root": facts["uid"] not in (0, None),
        "no capabilities": not any(facts["capabilities"]),
        "no network": set(facts["interfaces"]) <= {"lo"},
        "a read-only root": facts["root_read_only"],
        "nothing writable": not facts["writable"],
    }
    if not options.runtime:
        found["no_new_privs"] = facts["no_new_privs"] == "1"
        found["a seccomp profile"] = facts["seccomp"] == "2"
    return found


def _socket_of(stream: Any) -> socket.socket:
    """The socket of an attached stream: the SDK hands out a file object around it, or over TLS the thing itself."""
    return stream._sock if isinstance(stream, socket.SocketIO) else stream  # type: ignore[attr-defined]


def _remove(container: Container) -> None:
    """Kill and remove it. What is gone already, or is on its way, is what was wanted; a daemon that is gone
    takes its containers along when it comes back, and they end by themselves when the stream has."""
    with contextlib.suppress(NotFound, DockerException, OSError):
        container.remove(force=True)
