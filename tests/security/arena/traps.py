"""What an attack would have to touch to succeed: files, listeners and secrets, with their witnesses."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run", "/", "/root", "/proc", "/sys/fs/cgroup")
BAIT = "bait.txt"


class Traps:
    """A folder that anyone may write, a file and a link that hold a secret, and listeners of every kind.

    Everything hostile carries `token` in its name; everything secret contains `secret`.
    """

    def __init__(self, owner: int) -> None:
        self.token = f"witness{secrets.token_hex(6)}"
        self.secret = f"secret{secrets.token_hex(8)}"
        self.folder = Path(tempfile.mkdtemp(prefix="arena-"))
        self.folder.chmod(0o777)
        self.secret_file = self.folder / "secret.txt"
        self.secret_file.write_text(f"{self.secret}-file")
        (self.folder / "link").symlink_to(f"/nowhere/{self.secret}-link")
        self.secrets = [self.secret, *_hidden(self.folder, self.secret_file, self.secret)]
        self._owner = owner
        os.chown(self.secret_file, owner, -1)
        self._lay_bait()
        self._contacts: list[str] = []
        self._sockets, self.addresses = _listeners(self.folder, self.token)
        self._selector = selectors.DefaultSelector()
        for kind, listener in self._sockets.items():
            self._selector.register(listener, selectors.EVENT_READ, kind)
        self._wake, self._sleep = socket.socketpair()
        self._selector.register(self._wake, selectors.EVENT_READ, "")
        self._known = self._listing()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def places(self) -> dict[str, str]:
        """What the placeholders of an attack's program stand for."""
        return {"TOKEN": self.token, "DIR": str(self.folder), **self.addresses}

    def evidence(self, roots: list[str]) -> list[str]:
        """What has been left since the last call. `roots`: root folders of the processes that stand."""
        found = [f"network: contact over {kind}" for kind in self._contacts]
        self._contacts.clear()
        listing = self._listing()
        if listing != self._known:
            found.append("file: the folder changed: " + ", ".join(sorted(listing ^ self._known))[:200])
            for name in sorted(listing - self._known):
                _remove(f"{self.folder}/{name}")
        bait = self._state_of_bait()
        if bait != self._bait:
            found.append("file: a file of others changed")
            self._lay_bait()
        for root in ["", *roots]:
            for folder in FOLDERS:
                with contextlib.suppress(OSError):
                    for name in os.listdir(root + folder):
                        if self.token in name or name.startswith("core."):
                            found.append(f"file: {folder}/{name}")
                            _remove(f"{root}{folder}/{name}")
        return found

    def close(self) -> None:
        """Stop listening and remove the folder."""
        self._sleep.send(b"x")
        self._thread.join()
        self._selector.close()
        for listener in (*self._sockets.values(), self._wake, self._sleep):
            listener.close()
        shutil.rmtree(self.folder)

    def _listen(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if not key.data:
                    return
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj.type == socket.SOCK_STREAM:
                    key.fileobj.accept()[0].close()
                else:
                    key.fileobj.recv(4096)
                self._contacts.append(key.data)

    def _lay_bait(self) -> None:
        bait = self.folder / BAIT
        bait.unlink(missing_ok=True)
        bait.write_text("bait")
        os.chown(bait, self._owner, -1)
        bait.chmod(0o666)
        self._known = self._listing()
        self._bait = self._state_of_bait()

    def _listing(self) -> frozenset[str]:
        return frozenset(os.path.relpath(path, self.folder) for path in self.folder.rglob("*"))

    def _state_of_bait(self) -> tuple[object, ...]:
        try:
            stat = (self.folder / BAIT).stat()
        except FileNotFoundError:
            return ()
        attributes = tuple(os.listxattr(self.folder / BAIT))
        return stat.st_size, stat.st_mtime_ns, stat.st_mode, stat.st_nlink, stat.st_uid, attributes


def _hidden(folder: Path, file: Path, secret: str) -> list[str]:
    """Secrets that are not in a file's content: which files exist, a time, an attribute, a module, a log."""
    bits = f"{secrets.randbits(64):064b}"
    (folder / "bits").mkdir()
    for index, bit in enumerate(bits):
        if bit == "1":
            (folder / "bits" / str(index)).touch()
    (folder / "modules").mkdir()
    (folder / "modules" / "arena_secret.py").write_text(f"SECRET = '{secret}-module'\n")
    working = folder / f"{secret}-cwd"
    working.mkdir()
    time = 10**18 + secrets.randbelow(10**17)
    with contextlib.suppress(OSError):  # some file systems have none
        os.setxattr(file, "user.secret", secret.encode())
    os.utime(file, ns=(time, time))
    log = subprocess.run(["dmesg", "--notime"], capture_output=True, text=True, check=False).stdout
    return [bits, str(time), *[line for line in log.splitlines() if len(line) > 30][-1:]]


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _listeners(folder: Path, token: str) -> tuple[dict[str, socket.socket], dict[str, str]]:
    """Sockets that hear a contact, and their addresses by placeholder."""
    sockets = {
        "tcp": socket.create_server(("127.0.0.1", 0)),
        "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix stream": socket.socket(socket.AF_UNIX),
        "unix datagram": socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
        "abstract stream": socket.socket(socket.AF_UNIX),
        "abstract datagram": socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    }
    sockets["udp"].bind(("127.0.0.1", 0))
    sockets["unix stream"].bind(str(folder / "stream.sock"))
    sockets["unix datagram"].bind(str(folder / "datagram.sock"))
    sockets["abstract stream"].bind(f"\0{token}-stream")
    sockets["abstract datagram"].bind(f"\0{token}-datagram")
    for kind in ("unix stream", "abstract stream"):
        sockets[kind].listen()
    for name in ("stream.sock", "datagram.sock"):
        (folder / name).chmod(0o777)
    ports = {"TCP": str(sockets["tcp"].getsockname()[1]), "UDP": str(sockets["udp"].getsockname()[1])}
    return sockets, ports
