"""Taking in every record of some topics once, alone or with others."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple
from urllib.parse import quote

from ._errors import Conflict, LandfallError
from ._events import Pauses
from ._records import (
    Gap,
    Json,
    NewRecord,
    Receipt,
    Record,
    gap_of,
    json_bytes,
    record_of,
    told_of,
)
from ._wire import Answer, Request

log = logging.getLogger("landfall")

JSON_TYPE = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Commit:
    """How far a consumer has come, to be written with a group."""

    consumer: str
    cursor: str
    member: Optional[str] = None

    def body(self) -> Dict[str, Json]:
        """The commit as the API takes it."""
        body: Dict[str, Json] = {"consumer": self.consumer, "cursor": self.cursor}
        if self.member is not None:
            body["member"] = self.member
        return body


@dataclass(frozen=True)
class DeadLetter:
    """A record that a consumer could not deal with, to be set aside in ``<topic>.dead``."""

    consumer: str
    error: str
    record: Record

    def body(self) -> Dict[str, Json]:
        """The letter as the API takes it."""
        return {"consumer": self.consumer, "error": self.error, "record": told_of(self.record)}


@dataclass(frozen=True)
class Batch:
    """Records that a member of a consumer was given, and what commits them."""

    records: Tuple[Record, ...]
    #: What is missing for good before the records.
    gaps: Tuple[Gap, ...]
    commit: Commit
    #: What is written for it is written once under this name, however often it is sent. What is
    #: given again, such as after a seek, is another batch.
    name: str

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)


class Consumer:
    """A member of a consumer. Iterate over its batches, and commit each in turn.

    The node keeps how far the consumer has come. Members, in as many processes as there are,
    share its keys: records of a key are given to one of them at a time, in their order. What was
    given to a member that died is given to others. For one thread.
    """

    def __init__(
        self,
        ask: Callable[[Request, Optional[float]], Answer],
        group: Callable[
            [Iterable[NewRecord], Iterable[Commit], Iterable[DeadLetter], str], Receipt
        ],
        timeouts: Tuple[float, float],
        name: str,
        member: Optional[str],
        lease: float,
    ) -> None:
        self.name, self.member = name, member or f"m-{uuid.uuid4().hex[:16]}"
        self._ask, self._group = ask, group
        self._timeout, self._retry_for = timeouts
        self._lease = lease
        # What a process of the same name was given, it did not tell this one.
        self._anew = True

    def fetch(self, max_records: int = 100, wait: float = 10.0) -> Optional[Batch]:
        """The next records; `None` if none came within `wait` seconds.

        Each call renews the member's lease. Batches are committed in the order in which they were
        fetched; what was not committed when a call fails is given again.
        """
        deadline = time.monotonic() + wait
        pauses = Pauses(self._retry_for)
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            try:
                batch = self._fetch(max_records, min(left, 60.0))
            except LandfallError as error:
                # Records of an answer that was lost are not given again by themselves.
                self._anew = True
                pause = pauses.next(error)
                log.warning("%s; trying again in %.2f s", error, pause)
                time.sleep(pause)
                continue
            if batch is not None or time.monotonic() >= deadline:
                return batch
            pauses.succeed()

    def commit(
        self,
        batch: Batch,
        records: Iterable[NewRecord] = (),
        dead: Iterable[Tuple[Record, str]] = (),
    ) -> Receipt:
        """Says that a batch has been taken in; `records` are written in the same commit, once.

        `dead` has the records of the batch that could not be dealt with, and why: they are set
        aside as dead letters, in the same commit.

        `Conflict` says that the batch is not this member's any more, as its lease was over or the
        node was restarted: it is given to a member again, and nothing was written.
        """
        records = list(records)
        letters = [DeadLetter(self.name, error, record) for record, error in dead]
        try:
            if records or letters:
                return self._group(records, [batch.commit], letters, batch.name)
            body = {"cursor": batch.commit.cursor, "member": self.member}
            self._post("commit", body)
            return Receipt()
        except LandfallError:
            self._anew = True
            raise

    def give_back(self) -> None:
        """What was given and not committed is given again, as when it could not be dealt with."""
        self._anew = True

    def leave(self) -> None:
        """Lets the other members have this one's keys at once."""
        self._anew = True
        self._post("leave", {"member": self.member})

    def __iter__(self) -> Iterator[Batch]:
        while True:
            batch = self.fetch()
            if batch is not None:
                yield batch

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.leave()
        except LandfallError as error:
            log.warning("%s; its lease ends by itself", error)

    def _fetch(self, max_records: int, wait: float) -> Optional[Batch]:
        body = {
            "member": self.member,
            "max": max_records,
            "wait_max_ms": round(wait * 1_000),
            "lease_ms": round(self._lease * 1_000),
            "anew": self._anew,
        }
        records: List[Record] = []
        gaps: List[Gap] = []
        answer = self._ask(self._request("fetch", body), self._timeout + wait)
        try:
            while True:
                line = answer.line(None)
                if line is None:
                    raise answer.ended_early()
                told = answer.parsed_line(line)
                if "end" in told:
                    break
                if "gap" in told:
                    gaps.append(gap_of(told["gap"]))
                else:
                    records.append(record_of(told))
        finally:
            answer.close()
        self._anew = False
        cursor = told["end"]["cursor"]
        if cursor is None or not (records or gaps):
            return None
        commit = Commit(self.name, cursor, self.member)
        return Batch(tuple(records), tuple(gaps), commit, uuid.uuid4().hex)

    def _post(self, what: str, body: Dict[str, Json]) -> Any:
        pauses = Pauses(self._retry_for)
        while True:
            try:
                return self._ask(self._request(what, body), None).json()
            except LandfallError as error:
                time.sleep(pauses.next(error))

    def _request(self, what: str, body: Dict[str, Json]) -> Request:
        path = f"/v1/consumers/{quote(self.name, safe='')}/{what}"
        return Request("POST", path, headers=JSON_TYPE, body=json_bytes(body))


__all__ = ["Batch", "Commit", "Conflict", "Consumer", "DeadLetter"]
