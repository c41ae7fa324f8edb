"""The SQLite file: made, recognised, copied whole or not at all, its troubles told in plain words."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from azrl.errors import UserError

APPLICATION_ID = 0x617A726C  # "azrl", in the file's header: tells our files from others'
SCHEMA_VERSION = 1
_FULL_BYTES = 1 << 16

SCHEMA = f"""
CREATE TABLE task (
    row INTEGER PRIMARY KEY,        -- ascends with insertion
    id TEXT NOT NULL UNIQUE,        -- Task.id
    kind TEXT NOT NULL,
    bin INTEGER NOT NULL,
    key TEXT NOT NULL,              -- normalised program, as the caller keys it
    signature TEXT NOT NULL,        -- behaviour on probe inputs, as the caller writes it
    json TEXT NOT NULL,             -- Task.to_json, ASCII
    created_step INTEGER NOT NULL,
    last_step INTEGER NOT NULL,     -- made or last practised
    visits INTEGER NOT NULL,
    alpha REAL NOT NULL,            -- Beta posterior of the solve rate
    beta REAL NOT NULL
);
CREATE TABLE visit (task INTEGER NOT NULL, step INTEGER NOT NULL, successes INTEGER NOT NULL,
                    attempts INTEGER NOT NULL);
CREATE INDEX visit_task ON visit (task);
CREATE TABLE fingerprint (digest BLOB PRIMARY KEY) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Turn the file's and the disk's troubles into UserError; misuse of SQL stays what it is."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError):
            raise
        # SQLite's shared memory file meets a full disk as an "I/O error"
        full = error.args == ("disk I/O error",) and shutil.disk_usage(path.parent).free < _FULL_BYTES
        reason = "the disk is full" if full else error
        raise UserError(f"cannot {doing} the task buffer {path}: {reason}") from error
    except OSError as error:
        raise UserError(f"cannot {doing} the task buffer {path}: {error.strerror or error}") from error


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, made new if there is none; UserError for anything that is not a task buffer.

    WAL with synchronous=OFF: a killed process loses nothing that was committed, and no step waits for the
    disk. Only a power cut may spoil this file; what a run resumes from is a snapshot, and those are flushed.
    """
    with explained(path, "open"):
        if path.parent.is_file() or not path.parent.exists():
            raise UserError(f"cannot open the task buffer {path}: there is no folder {path.parent}")
        connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
        try:
            if not connection.execute("PRAGMA schema_version").fetchone()[0]:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
            recognise(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA cache_size = -65536")  # KiB: 100,000 small tasks stay in memory
        except BaseException:
            connection.close()
            raise
        return connection


def recognise(connection: sqlite3.Connection, path: Path) -> None:
    """UserError unless the file is a task buffer of this version."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise UserError(f"{path} is a database of something else, not a task buffer")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise UserError(f"{path} is a task buffer of version {version}; this program reads {SCHEMA_VERSION}")


def snapshot(connection: sqlite3.Connection, path: Path) -> None:
    """Copy the committed database to `path` as one plain file: complete or absent, an older copy kept until
    the new one is on the disk. UserError when the disk refuses."""
    part = path.with_name(path.name + ".part")
    with explained(path, "write a snapshot of"), _discarding(part):
        with closing(sqlite3.connect(part, isolation_level=None)) as target:
            target.execute("PRAGMA synchronous = OFF")  # flushed whole below
            connection.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")
        _publish(part, path)


def restore(source: Path, path: Path) -> None:
    """Put a snapshot in the place of the database at `path`, which must not be open. The snapshot is checked
    first: UserError leaves `path` as it was."""
    with explained(source, "read the snapshot of"):
        if not source.is_file():
            raise UserError(f"there is no snapshot of the task buffer at {source}")
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as saved:
            recognise(saved, source)
            verdict = saved.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise UserError(f"the snapshot {source} is damaged: {verdict}")
    part = path.with_name(path.name + ".part")
    with explained(path, "restore"), _discarding(part):
        shutil.copyfile(source, part)
        for suffix in ("-wal", "-shm"):  # belong to the file that is replaced
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        _publish(part, path)


@contextmanager
def _discarding(part: Path) -> Iterator[None]:
    """Start without a half-written `part` and leave none behind."""
    leftovers = [part, part.with_name(part.name + "-journal"), part.with_name(part.name + "-wal")]
    for file in leftovers:
        file.unlink(missing_ok=True)
    try:
        yield
    finally:
        for file in leftovers:
            with suppress(OSError):  # the first trouble is the one to tell
                file.unlink(missing_ok=True)


def _publish(part: Path, path: Path) -> None:
    """Flush `part`, give it its name, and flush the name."""
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
