"""What can go wrong: problems that the node tells, and connections that break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Type

if TYPE_CHECKING:
    from ._records import Receipt


class LandfallError(Exception):
    """Anything that this package raises by itself."""


class Unreachable(LandfallError):
    """Nothing answers there; nothing was sent."""


class Broken(LandfallError):
    """The connection broke before the answer was whole.

    What was asked for may have happened. Appends are sent again by themselves, so that they raise
    :class:`OutcomeUnknown` instead, and only after ``retry_for``.
    """


class NotUnderstood(LandfallError):
    """What answers does not speak as a Landfall node of this version does."""


class OutcomeUnknown(LandfallError):
    """An append was sent, and no answer came in ``retry_for``: it was written, or it was not.

    ``written`` is what is known to be durable. To find out about the rest without writing it
    twice, send the same again under the same names: ``idempotency_key`` for a group; ``producer``
    and ``sequence`` (the number of the first record without a receipt) for other appends.
    """

    def __init__(
        self,
        message: str,
        *,
        idempotency_key: Optional[str] = None,
        producer: Optional[str] = None,
        sequence: Optional[int] = None,
        written: Optional[Receipt] = None,
    ) -> None:
        super().__init__(message)
        self.idempotency_key = idempotency_key
        self.producer = producer
        self.sequence = sequence
        self.written = written


class Problem(LandfallError):
    """The node refuses. There is a class for each ``code``.

    ``detail`` says what is wrong, ``hint`` what to do, ``where`` what was asked of the node, and
    ``line`` which line of the input or which record it is about, counted from 1. If an append
    was refused on its way, ``written`` is what was durable by then.
    """

    code = ""

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        status: int,
        where: str,
        hint: Optional[str] = None,
        line: Optional[int] = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.status = status
        self.where = where
        self.hint = hint
        self.line = line
        self.written: Optional[Receipt] = None

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.detail}{hint} ({self.code}, {self.where})"


class BadRequest(Problem):
    """The request makes no sense."""

    code = "bad_request"


class BadLine(Problem):
    """A line or a record can't be taken; nothing from it on was written."""

    code = "bad_line"


class Unauthorized(Problem):
    """The token is missing or wrong."""

    code = "unauthorized"


class Forbidden(Problem):
    """Not allowed here, such as writing to a topic of another application."""

    code = "forbidden"


class NotFound(Problem):
    """There is no such path or view."""

    code = "not_found"


class UnknownTopic(Problem):
    """There is no such topic, and the node makes none by itself."""

    code = "unknown_topic"


class UnknownSite(Problem):
    """There is no such site."""

    code = "unknown_site"


class MethodNotAllowed(Problem):
    """The path has other methods."""

    code = "method_not_allowed"


class Conflict(Problem):
    """It contradicts what is there."""

    code = "conflict"


class Unmet(Problem):
    """A condition of a group does not hold; nothing of it was written."""

    code = "unmet"


class Gone(Problem):
    """The cursor is of another log, or its place is no longer there."""

    code = "gone"


class TooLarge(Problem):
    """A record, a body or an answer over its limit."""

    code = "too_large"


class TooLong(Problem):
    """A query took longer than it may."""

    code = "too_long"


class Internal(Problem):
    """The node failed; its log says how."""

    code = "internal"


class NotYet(Problem):
    """What was waited for did not come in time."""

    code = "not_yet"


class Busy(Problem):
    """The node does too much already."""

    code = "busy"


class Stopping(Problem):
    """The node is stopping."""

    code = "stopping"


class LaneFull(Problem):
    """No room until the link or a person makes some."""

    code = "lane_full"


class DiskFull(Problem):
    """No room on the disk until a person makes some."""

    code = "disk_full"


_BY_CODE: Dict[str, Type[Problem]] = {
    kind.code: kind
    for kind in (
        BadRequest, BadLine, Unauthorized, Forbidden, NotFound, UnknownTopic, UnknownSite,
        MethodNotAllowed, Conflict, Unmet, Gone, TooLarge, TooLong, Internal, NotYet, Busy,
        Stopping, LaneFull, DiskFull,
    )
}  # fmt: skip


def problem(told: Mapping[str, Any], where: str) -> Problem:
    """The exception for problem details; one of a newer node is a plain :class:`Problem`."""
    code = str(told.get("code", ""))
    hint, line = told.get("hint"), told.get("line")
    return _BY_CODE.get(code, Problem)(
        str(told.get("detail", "the node refuses, and does not say why")),
        code=code,
        status=int(told.get("status", 0)),
        where=where,
        hint=None if hint is None else str(hint),
        line=None if line is None else int(line),
    )


def may_pass(error: LandfallError) -> bool:
    """Whether the same may succeed when it is tried again in a while."""
    return isinstance(error, (Unreachable, Broken, Busy, Stopping))
