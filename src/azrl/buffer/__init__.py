"""The task buffer: a SQLite store, learnability weights, sampling and eviction."""

from azrl.buffer.store import Entry, TaskBuffer, Visit

__all__ = ["Entry", "TaskBuffer", "Visit"]
