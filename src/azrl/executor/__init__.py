"""Runs untrusted programs: a Job in, a Result out. Imports no torch."""

from azrl.executor.base import Executor, Job, Limits, Result, Status
from azrl.executor.open import open_executor

__all__ = ["Executor", "Job", "Limits", "Result", "Status", "open_executor"]
