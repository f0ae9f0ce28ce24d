"""Server-sent events that go on where they were when a connection breaks."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, Dict, Generic, Iterator, NamedTuple, Optional, TypeVar

from ._errors import Broken, LandfallError, may_pass
from ._wire import Answer, Late

log = logging.getLogger("landfall")

#: A node breaks its silence every 15 seconds; after three times that, it is gone.
SILENCE_MAX = 45.0
PAUSE_MIN = 0.05
PAUSE_MAX = 5.0
#: An event may be a whole answer of the views: 8 MiB, and what JSON adds.
EVENT_BYTES_MAX = 64 << 20

T = TypeVar("T")


class Event(NamedTuple):
    """An event of a node."""

    id: Optional[str]
    kind: str
    data: Dict[str, Any]


class Pauses:
    """How long to wait between tries, and when to give up."""

    def __init__(self, retry_for: Optional[float]) -> None:
        self._retry_for = retry_for
        self.succeed()

    def succeed(self) -> None:
        """Begins anew."""
        self._pause = PAUSE_MIN
        self._until = None if self._retry_for is None else time.monotonic() + self._retry_for

    def next(self, error: LandfallError) -> float:
        """How long to wait; raises the error when it is too late to try again."""
        left = PAUSE_MAX if self._until is None else self._until - time.monotonic()
        if left <= 0 or not may_pass(error):
            raise error
        pause = min(self._pause, left)
        self._pause = min(self._pause * 2, PAUSE_MAX)
        return pause


class Events(Generic[T]):
    """What a node tells, for as long as it is listened to. Iterate over it, or ask for `next`.

    When the connection breaks or the node restarts, it is asked again behind the last event, so
    that nothing is lost and nothing comes twice. `close` may be called by another thread, which
    ends the iteration. Otherwise it is for one thread.
    """

    def __init__(
        self,
        connect: Callable[[Optional[str]], Answer],
        understand: Callable[[Event], Optional[T]],
        retry_for: Optional[float],
        cursor: Optional[str] = None,
    ) -> None:
        self._connect, self._understand = connect, understand
        self._pauses = Pauses(retry_for)
        self._answer: Optional[Answer] = None
        self._closed = threading.Event()
        #: What is behind the last event that was given; with it, another one goes on there.
        self.cursor: Optional[str] = cursor
        self._last_id: Optional[str] = cursor

    def next(self, timeout: Optional[float] = None) -> Optional[T]:
        """The next one; `None` if none came within `timeout` seconds, or after `close`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._closed.is_set():
            try:
                event = self._event(deadline)
            except Late:
                return None
            except LandfallError as error:
                self._disconnect()
                if self._closed.is_set():
                    return None
                pause = self._pauses.next(error)
                log.warning("%s; trying again in %.2f s", error, pause)
                if deadline is not None:
                    pause = min(pause, max(deadline - time.monotonic(), 0.0))
                self._closed.wait(pause)
                if deadline is not None and time.monotonic() >= deadline:
                    return None
                continue
            if event is None:
                continue
            self._pauses.succeed()
            self._last_id = self.cursor = event.id or self.cursor
            given = self._understand(event)
            if given is not None:
                return given
        return None

    def close(self) -> None:
        """Ends it."""
        self._closed.set()
        self._disconnect()

    def __iter__(self) -> Iterator[T]:
        while True:
            given = self.next()
            if given is None:
                return
            yield given

    def __enter__(self: E) -> E:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _event(self, deadline: Optional[float]) -> Optional[Event]:
        if self._answer is None:
            self._answer = self._connect(self._last_id)
            self._id, self._kind, self._data = None, "", b""
        answer = self._answer
        while True:
            wait = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            line = answer.line(wait, EVENT_BYTES_MAX)
            if line is None:
                raise answer.ended_early()
            name, _, value = line.partition(b": ")
            if name == b"id":
                self._id = value.decode("utf-8")
            elif name == b"event":
                self._kind = value.decode("utf-8")
            elif name == b"data":
                self._data = value
            elif not line and self._data:
                event = Event(self._id, self._kind, answer.parsed_line(self._data))
                self._id, self._kind, self._data = None, "", b""
                return event
            elif not line:
                # A comment has ended: the node is there.
                self._pauses.succeed()
                return None

    _id: Optional[str]
    _kind: str
    _data: bytes

    def _disconnect(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()


E = TypeVar("E", bound="Events[Any]")

__all__ = ["Broken", "Event", "Events", "Pauses"]
