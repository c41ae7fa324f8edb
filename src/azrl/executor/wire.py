"""The bytes between host and guest, and the verdict on what came back.

Requests and frames are described in `sandbox/jobs.py` and `sandbox/runner.py`. A frame is a claim: it can
say nothing worth more than what the program could have returned. The order of judgement is limits, crash,
broken protocol, claim.
"""

from __future__ import annotations

import os
import signal
import struct
from dataclasses import dataclass
from functools import lru_cache

from azrl.executor import plain
from azrl.executor.admit import NOT_LITERAL, Admitted
from azrl.executor.base import Result, Status
from azrl.tasks import judge

REQUEST, REPLY = struct.Struct("<QQQQ"), struct.Struct("<QiQQ")
COULD_NOT_FORK = -1
TOO_LARGE, NO_FUNCTION = "too_large", "NoFunction"
_SIZE_REASONS = ("too_long", "too_deep", "too_many", "digits")
_EXIT_OUT_OF_MEMORY = 3
_FRAME = struct.Struct("<cI")
_MAX_UTF8 = 4  # bytes a character
_MAX_NAME = 64
_CLOCK_SLACK_US = 5000  # rusage and the timer's clock round differently


class ProtocolError(Exception):
    """The child wrote something that is no sequence of frames."""


@dataclass(frozen=True, slots=True)
class Reply:
    """How a child ended, as its server's wait4 tells it."""

    job: int
    status: int
    cpu_us: int
    wall_us: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A child that has ended: its server's word on how, and what the child wrote. `flooded`: more than the cap,
    for which it was killed."""

    reply: Reply
    data: bytes | bytearray
    flooded: bool


def request(job: int, admitted: Admitted) -> bytes:
    """What the server is told: numbers alone."""
    nanoseconds = [max(int(seconds * 1e9), 1) for seconds in (admitted.cpu_s, admitted.wall_s)]
    return REQUEST.pack(job, *nanoseconds, admitted.memory)


def payload(admitted: Admitted) -> bytes:
    """What the child reads from the job's own socket."""
    texts = [admitted.job.program, *(call for call in admitted.calls if call is not None)]
    data = [text.encode("utf-8", "surrogatepass") for text in texts]
    head = struct.pack(f"<II{len(data)}I", admitted.job.limits.output_chars, len(data), *map(len, data))
    body = b"".join([head, *data])
    return len(body).to_bytes(4, "little") + body


def frames_cap(admitted: Admitted) -> int:
    """More bytes than this cannot be an honest answer."""
    count = sum(call is not None for call in admitted.calls)
    return count * (_FRAME.size + max(_MAX_UTF8 * admitted.job.limits.output_chars, _MAX_UTF8 * _MAX_NAME))


def verdict(admitted: Admitted, ended: Ended) -> Result:
    """The Result of a job whose child ended so."""
    reply = ended.reply
    cpu_ms = reply.cpu_us / 1000

    def failed(status: Status, reason: str) -> Result:
        count = len(admitted.calls)
        return Result(status, (None,) * count, reason, cpu_ms, (reason,) * count)

    code = os.waitstatus_to_exitcode(reply.status)
    if code == -signal.SIGKILL and reply.cpu_us + _CLOCK_SLACK_US >= admitted.cpu_s * 1e6:
        return failed(Status.TIMEOUT, "cpu_limit")
    if code == -signal.SIGKILL and reply.wall_us + _CLOCK_SLACK_US >= admitted.wall_s * 1e6:
        return failed(Status.TIMEOUT, "wall_limit")
    if code == -signal.SIGXCPU:
        return failed(Status.TIMEOUT, "cpu_limit")
    if ended.flooded:
        return failed(Status.CRASH, "too_much_output")
    if code == _EXIT_OUT_OF_MEMORY:
        return failed(Status.MEMORY, "MemoryError")
    if code:
        return failed(Status.CRASH, f"signal {-code}" if code < 0 else f"exit {code}")
    try:
        return _claim(admitted, ended.data, cpu_ms)
    except ProtocolError as error:
        return failed(Status.CRASH, str(error))


def _claim(admitted: Admitted, data: bytes | bytearray, cpu_ms: float) -> Result:
    frames = _frames(data, _MAX_UTF8 * admitted.job.limits.output_chars)
    count = len(admitted.calls)
    if len(frames) == 1 and frames[0][0] == b"C":
        name = _name(frames[0][1])
        status = Status.MEMORY if name == "MemoryError" else Status.ERROR
        return Result(status, (None,) * count, name, cpu_ms, (name,) * count)
    if len(frames) != sum(call is not None for call in admitted.calls):
        raise ProtocolError("no_answer" if not frames else "wrong_answer_count")
    left = iter(frames)
    answers = [
        (None, NOT_LITERAL) if call is None else _answer(*next(left), admitted) for call in admitted.calls
    ]
    outputs, errors = zip(*answers, strict=True)
    return conclude(outputs, errors, cpu_ms)


def conclude(outputs: tuple[str | None, ...], errors: tuple[str, ...], cpu_ms: float) -> Result:
    """The Result of a job that ended by itself. One literal is enough for OK; without any, memory is named
    first, then exceptions, then results that are too large or no literals."""
    if any(output is not None for output in outputs):
        return Result(Status.OK, outputs, "", cpu_ms, errors)
    if "MemoryError" in errors:
        return Result(Status.MEMORY, outputs, "MemoryError", cpu_ms, errors)
    raised = [error for error in errors if error not in (NOT_LITERAL, TOO_LARGE)]
    if raised:
        return Result(Status.ERROR, outputs, raised[0], cpu_ms, errors)
    return Result(Status.OUTPUT, outputs, errors[0], cpu_ms, errors)


def _frames(data: bytes | bytearray, max_bytes: int) -> list[tuple[bytes, str]]:
    found, at = [], 0
    while at < len(data):
        if at + _FRAME.size > len(data):
            raise ProtocolError("broken_frame")
        tag, size = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        if size > max(max_bytes, _MAX_UTF8 * _MAX_NAME) or at + size > len(data):
            raise ProtocolError("broken_frame")
        try:
            found.append((tag, bytes(data[at : at + size]).decode("utf-8", "surrogatepass")))
        except UnicodeDecodeError:
            raise ProtocolError("broken_frame") from None
        at += size
    return found


def _answer(tag: bytes, text: str, admitted: Admitted) -> tuple[str | None, str]:
    if tag == b"K":
        return checked_output(text, admitted.job.limits.output_chars)
    if tag == b"E":
        return None, _name(text)
    plain = {b"N": NOT_LITERAL, b"L": TOO_LARGE, b"F": NO_FUNCTION}
    if tag not in plain or text:
        raise ProtocolError("broken_frame")
    return None, plain[tag]


def checked_output(text: str, max_chars: int) -> tuple[str | None, str]:
    """The judge's canonical form of a claimed output and "", or None and why it is refused."""
    if len(text) > plain.MAX_CHARS:
        return _parsed_output(text, max_chars)
    if len(text) <= max_chars and plain.value(text):
        return text, ""
    return _short_output(text, max_chars)


def _parsed_output(text: str, max_chars: int) -> tuple[str | None, str]:
    try:
        return judge.canonical(text, max_chars=max_chars), ""
    except judge.NotLiteral as error:
        return None, TOO_LARGE if error.reason in _SIZE_REASONS else NOT_LITERAL


_short_output = lru_cache(maxsize=1 << 12)(_parsed_output)  # interpreters that agree say the same


def _name(text: str) -> str:
    if not text.isidentifier() or len(text) > _MAX_NAME:
        raise ProtocolError("broken_frame")
    return text
