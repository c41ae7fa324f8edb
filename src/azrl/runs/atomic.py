"""Files that are complete or absent: write aside, flush, rename; and disk errors in plain words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from azrl.errors import UserError

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "the system does not permit it",
    errno.ENAMETOOLONG: "the name is too long",
}


def reason(error: OSError) -> str:
    """Why the system refused, in words that a user can act on."""
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into `UserError("cannot <doing>: <reason>")`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot {doing}: {reason(error)}") from error


def sync_path(path: Path) -> None:
    """Force one file or folder to the disk (of a folder: the names in it)."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(folder: Path) -> None:
    """Force every file and folder under `folder`, and itself, to the disk."""
    for path in folder.rglob("*"):
        sync_path(path)
    sync_path(folder)


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put `data` at `path`: a reader or a crash sees the old content or the new, never a part.

    `durable=False` skips the flush: a killed process still leaves old or new, a power cut may not.
    """
    aside = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    if durable:
        sync_path(path.parent)
