"""Makes the sandbox's image from this machine's Python, with no registry: interpreter, standard library, the
shared libraries that they need, and the guest code. One layer, no shell, no package manager, no site-packages.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from azrl.errors import UserError
from azrl.executor.guest import guest_file

_LEFT_OUT = re.compile(
    r"test|tests|idlelib|tkinter|turtledemo|ensurepip|lib2to3|pydoc_data|site-packages|dist-packages|config-.*"
    r"|(_tkinter|_test|_ctypes_test|_xxtest|xx).*\.so"
)
_LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)
_ACCOUNTS = {
    "etc/passwd": "nobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "nogroup:x:65534:\n",
}
_EMPTY_FOLDERS = ("proc", "sys", "dev", "tmp")
GUEST_FOLDER = "sandbox"


def guest_digest() -> str:
    """One hash of the guest code, by which host and container see that theirs is the same."""
    digest = hashlib.sha256()
    for path in guest_sources():
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def guest_sources() -> list[Path]:
    """The Python files that run in the container, by name."""
    return sorted(guest_file("relay.py").parent.glob("*.py"))


def write_root(out: IO[bytes]) -> None:
    """Write the root file system as a tar. The same Python gives the same bytes. UserError where libraries
    cannot be told."""
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in (*_EMPTY_FOLDERS, "etc", "usr/bin", GUEST_FOLDER):
            _add_bytes(tar, name, None)
        for name, text in _ACCOUNTS.items():
            _add_bytes(tar, name, text.encode())
        for path in guest_sources():
            _add_bytes(tar, f"{GUEST_FOLDER}/{path.name}", path.read_bytes())
        python = Path(sys.executable).resolve()
        files = {python, *_standard_library()}
        for path in sorted(files | _libraries(files)):
            _add_file(tar, path)
        if python != Path("/usr/bin/python3"):
            link = _entry("usr/bin/python3")
            link.type, link.linkname = tarfile.SYMTYPE, str(python)
            tar.addfile(link)


def _standard_library() -> Iterator[Path]:
    """Sources, extension modules, and bytecode of this version."""
    endings = (".py", ".so", f".{sys.implementation.cache_tag}.pyc")
    for folder, folders, files in os.walk(sysconfig.get_path("stdlib")):
        folders[:] = [name for name in folders if not _LEFT_OUT.fullmatch(name)]
        for name in files:
            if name.endswith(endings) and not _LEFT_OUT.fullmatch(name):
                yield Path(folder, name)


def _libraries(files: set[Path]) -> set[Path]:
    """Shared libraries that programs and extension modules among `files` load, where the loader finds them."""
    binaries = sorted(str(path) for path in files if path.suffix not in (".py", ".pyc"))
    try:
        listing = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    except OSError as error:
        raise UserError(
            f"`ldd` must say which libraries Python needs, and it does not run here: {error}; "
            "build the image from sandbox/Dockerfile instead"
        ) from error
    found = {Path(os.path.normpath(name)) for name in _LIBRARY.findall(listing)}
    cache = Path("/etc/ld.so.cache")  # names the folders that are not the loader's own
    return found | ({cache} if cache.is_file() else set())


def _entry(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o755
    return entry


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes | None) -> None:
    """A file with this text, or a folder."""
    entry = _entry(name)
    if data is None:
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
        return
    entry.mode, entry.size = 0o644, len(data)
    tar.addfile(entry, io.BytesIO(data))


def _add_file(tar: tarfile.TarFile, path: Path) -> None:
    """A file of this machine at its own path, its time kept: bytecode is checked against it."""
    data = path.read_bytes()
    entry = _entry(str(path).lstrip("/"))
    entry.mode = 0o755 if os.access(path, os.X_OK) else 0o644
    entry.size, entry.mtime = len(data), int(path.stat().st_mtime)
    tar.addfile(entry, io.BytesIO(data))
