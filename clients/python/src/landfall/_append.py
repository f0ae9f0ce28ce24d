"""Appending, so that each record is written once whatever breaks.

A client numbers its records under a name of its own. A request whose answer is lost is sent again
with the same numbers, and the node passes over those that it has.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from dataclasses import replace
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional

from ._errors import Broken, LandfallError, OutcomeUnknown, Problem, may_pass
from ._events import Pauses
from ._records import Receipt, Span, spans_of
from ._wire import Answer, Request

#: What one request carries. Its answer is some lines, so that nobody waits for the other.
PIECE_BYTES_MAX = 512 << 10
PIECE_LINES_MAX = 4_096


class Sequence:
    """A producer's name, and the number of its next record."""

    def __init__(self, name: str, next_: int) -> None:
        self.name, self.next = name, next_


class Sequences:
    """Names under which this process numbers records, one for each thread that appends at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: List[Sequence] = []
        self._process = os.getpid()

    def take(self) -> Sequence:
        """One that nobody else has."""
        with self._lock:
            if self._process != os.getpid():
                # Records of a parent and its child under one name would pass for repetitions.
                self._idle, self._process = [], os.getpid()
            return self._idle.pop() if self._idle else Sequence(f"python-{uuid.uuid4().hex}", 1)

    def give_back(self, sequence: Sequence) -> None:
        """Keeps one for the next append. One whose last outcome is unknown is not given back."""
        with self._lock:
            if self._process == os.getpid():
                self._idle.append(sequence)


class Piece(NamedTuple):
    """Lines that are sent together."""

    body: bytes
    lines: int


def pieces(lines: Iterable[bytes]) -> Iterator[Piece]:
    """Lines in pieces of bounded size; one line may be larger, and the node refuses it."""
    body, count = bytearray(), 0
    for line in lines:
        if count and (len(body) + len(line) >= PIECE_BYTES_MAX or count == PIECE_LINES_MAX):
            yield Piece(bytes(body), count)
            body, count = bytearray(), 0
        body += line
        body += b"\n"
        count += 1
    if count:
        yield Piece(bytes(body), count)


class Appending:
    """Sends pieces, and adds up what became of them."""

    def __init__(
        self,
        send: Callable[[Request], Answer],
        retry_for: float,
        path: str,
        query: Dict[str, str],
        sequence: Sequence,
    ) -> None:
        self._send, self._retry_for, self._path = send, retry_for, path
        self._query, self._sequence = query, sequence
        self._spans: List[Span] = []
        self._duplicates = self._skipped = self._lines = 0
        #: Whether all that was sent has its outcome.
        self.is_settled = True

    def receipt(self) -> Receipt:
        """What is durable so far."""
        return Receipt(tuple(_joined(self._spans)), self._duplicates, self._skipped)

    def append(self, piece: Piece) -> None:
        """Appends a piece; when it returns, all of it is durable."""
        first = self._sequence.next
        query = {**self._query, "producer": self._sequence.name, "first_sequence": str(first)}
        request = Request("POST", self._path, query=query, body=piece.body)
        pauses = Pauses(self._retry_for)
        sent = False
        told: List[Span] = []
        self.is_settled = False
        while True:
            try:
                self._settle(request, told)
                break
            except Problem as problem:
                if not may_pass(problem):
                    self._spans += told
                    self._advance(piece)
                    raise self._refused(problem) from None
                error: LandfallError = problem
            except LandfallError as broken:
                # Whoever does not answer may still have taken it.
                sent = sent or isinstance(broken, Broken)
                error = broken
            time.sleep(self._pause(pauses, error, sent, told))
        self._spans += told
        self._advance(piece)
        self._lines += piece.lines

    def _advance(self, piece: Piece) -> None:
        self._sequence.next += piece.lines
        self.is_settled = True

    def _pause(
        self, pauses: Pauses, error: LandfallError, sent: bool, told: List[Span]
    ) -> float:
        try:
            return pauses.next(error)
        except LandfallError:
            if not sent:
                raise
            self._spans += told
            raise OutcomeUnknown(
                f"{error}; whether the records from number {self._lines + 1} on were written is "
                f"not known: send them again under the same producer and sequence",
                producer=self._sequence.name,
                sequence=self._sequence.next,
                written=self.receipt(),
            ) from error

    def _settle(self, request: Request, told: List[Span]) -> None:
        # What an earlier try was told of comes as duplicates now.
        before = sum(span.count for span in told)
        with self._send(request) as answer:
            for line in answer.lines():
                outcome: Dict[str, Any] = answer.parsed_line(line)
                if "done" in outcome:
                    self._duplicates += outcome["done"]["duplicates"] - before
                    self._skipped += outcome["done"]["skipped"]
                    return
                told += spans_of(outcome["written"])
            raise answer.ended_early()

    def _refused(self, problem: Problem) -> Problem:
        if problem.line is not None:
            line = self._lines + problem.line
            prefix = f"line {problem.line}: "
            if problem.detail.startswith(prefix):
                problem.detail = f"line {line}: " + problem.detail[len(prefix) :]
            problem.line = line
        problem.written = self.receipt()
        return problem


def unknown_group(error: LandfallError, key: str) -> OutcomeUnknown:
    """The error for a group without an answer."""
    return OutcomeUnknown(
        f"{error}; whether the group was written is not known: send it again with the key {key}",
        idempotency_key=key,
    )


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans that follow each other as one."""
    open_: Optional[Span] = None
    for span in spans:
        if open_ is not None:
            follows = replace(open_.last, offset=open_.last.offset + 1)
            if span.first == follows:
                open_ = Span(open_.first, open_.count + span.count)
                continue
            yield open_
        open_ = span
    if open_ is not None:
        yield open_
