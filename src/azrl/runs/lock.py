"""One writer a run: an advisory `flock`, which the system drops when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path
from typing import IO

from azrl.errors import UserError

log = logging.getLogger(__name__)

_PATIENCE_S = 2.0  # a process that was just killed may need a moment to let go


def hold(folder: Path) -> IO[str]:
    """Take the folder's lock and write this process's number into it; closing the file lets go.

    UserError when another process holds it, naming that one; OSError when the folder cannot be written.
    """
    lock = (folder / "run.lock").open("a+")
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise UserError(
                f"the run {folder} is being written by process {holder}; stop that process first"
            ) from None
        except OSError as error:
            log.warning("this file system has no locks (%s): start no second process on %s", error, folder)
            break
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock
