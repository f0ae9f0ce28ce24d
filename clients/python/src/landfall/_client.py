"""The client: what programs ask of a node."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple, Union
from urllib.parse import quote

from . import _status
from ._append import Appending, Sequence, Sequences, pieces, unknown_group
from ._call import call
from ._consume import Commit, Consumer, DeadLetter
from ._errors import Broken, LandfallError, Problem, may_pass
from ._events import SILENCE_MAX, Event, Events, Pauses
from ._read import (
    Place,
    Position,
    Reading,
    Rows,
    place_text,
    position_text,
    rows_of,
    wait_text,
    warn_of_gap,
)
from ._records import (
    Condition,
    Gap,
    Headers,
    Json,
    NewRecord,
    Receipt,
    Record,
    Time,
    body_of,
    gap_of,
    json_bytes,
    record_of,
    spans_of,
)
from ._wire import Answer, Request, ask
from ._wire import Place as Address

JSON_TYPE = {"Content-Type": "application/json"}
EVENTS_TYPE = {"Accept": "text/event-stream"}


class Client:
    """A node's local API. May be shared by threads; holds no connection between calls.

    :param data: the node's data directory; `LANDFALL_DATA` if nothing else is given.
    :param socket: the Unix socket, if it is not ``landfall.sock`` in there.
    :param address: ``127.0.0.1:PORT`` of `api.tcp`, to use TCP in place of the socket.
    :param token: the token for TCP, or that of an application; `token_file` reads it from a file.
    :param timeout: seconds without a byte after which a connection counts as broken.
    :param retry_for: seconds for which a call is tried again while the node does not answer, such
        as when it restarts. Appends are never written twice by that. 0: never.
    """

    def __init__(
        self,
        data: Union[str, Path, None] = None,
        *,
        socket: Union[str, Path, None] = None,
        address: Optional[str] = None,
        token: Optional[str] = None,
        token_file: Union[str, Path, None] = None,
        timeout: float = 30.0,
        retry_for: float = 30.0,
    ) -> None:
        if token_file is not None:
            token = Path(token_file).read_text(encoding="utf-8").strip()
        if data is None and socket is None and address is None:
            data = os.environ.get("LANDFALL_DATA")
            if not data:
                raise ValueError("which node? Give its data directory, or set LANDFALL_DATA")
        if address is not None:
            host, _, port = address.rpartition(":")
            if not port.isdecimal():
                raise ValueError(f"{address!r} is no address; 127.0.0.1:4521 is")
            self._place = Address(address=(host.strip("[]"), int(port)), token=token)
        else:
            path = socket if socket is not None else Path(data or "") / "landfall.sock"
            self._place = Address(path=str(path), token=token)
        self._timeout, self._retry_for = timeout, retry_for
        self._sequences = Sequences()

    # --- Appending ---

    def append(
        self,
        topic: str,
        value: Json,
        *,
        key: Union[str, bytes, None] = None,
        headers: Headers = (),
        timestamp: Optional[Time] = None,
        form: Optional[str] = None,
        partition: Optional[int] = None,
    ) -> Receipt:
        """Appends one record. When it returns, the record is synced to the node's disk, once."""
        record = NewRecord(value, key, headers, timestamp, form)
        return self.append_many(topic, [record], partition=partition)

    def delete(
        self,
        topic: str,
        key: Union[str, bytes],
        *,
        headers: Headers = (),
        timestamp: Optional[Time] = None,
        partition: Optional[int] = None,
    ) -> Receipt:
        """Appends a tombstone: the key is no more."""
        record = NewRecord.tombstone(key, headers=headers, timestamp=timestamp)
        return self.append_many(topic, [record], partition=partition)

    def append_many(
        self,
        topic: str,
        records: Iterable[NewRecord],
        *,
        partition: Optional[int] = None,
        producer: Optional[str] = None,
        first_sequence: int = 1,
    ) -> Receipt:
        """Appends any number of records, in pieces, and holds no more than one piece of them.

        With a `producer`, they are numbered under that name from `first_sequence` on: repeated
        after a crash with the same records from the start, each is written once.
        """
        lines = (body_of(record, in_group=False) for record in records)
        query = {"lines": "records"}
        return self._append(topic, lines, query, partition, producer, first_sequence)

    def append_lines(
        self,
        topic: str,
        lines: Iterable[Union[str, bytes]],
        *,
        key_field: Optional[str] = None,
        time_field: Optional[str] = None,
        skip_bad: bool = False,
        partition: Optional[int] = None,
        producer: Optional[str] = None,
        first_sequence: int = 1,
    ) -> Receipt:
        """Appends lines of JSON as they are written, such as those of a file.

        Key and time are taken from fields of each line; `skip_bad` passes over lines that are no
        JSON. The other parameters are those of :meth:`append_many`; blank lines are numbered, too.
        """
        query = {"key_field": key_field or "", "time_field": time_field or ""}
        if skip_bad:
            query["skip_bad"] = "true"
        return self._append(topic, map(_line, lines), query, partition, producer, first_sequence)

    def group(
        self,
        records: Iterable[NewRecord],
        *,
        if_last: Iterable[Condition] = (),
        commits: Iterable[Commit] = (),
        dead: Iterable[DeadLetter] = (),
        idempotency_key: Optional[str] = None,
    ) -> Receipt:
        """Appends records of topics of one lane together or not at all, if all conditions hold.

        `commits` says how far consumers have come with them, in the same commit; `dead` sets aside
        what they could not deal with.

        With an `idempotency_key`, the group is written once however often it is sent; without
        one, this call draws its own, for its own repetitions.
        """
        records = list(records)
        parts = [body_of(record, in_group=True) for record in records]
        conditions = json_bytes([condition.body() for condition in if_last])
        told_commits = json_bytes([commit.body() for commit in commits])
        body = b'{"records":[' + b",".join(parts) + b'],"if_last":' + conditions
        letters = [letter.body() for letter in dead]
        body += b',"commits":' + told_commits + b',"dead":' + json_bytes(letters) + b"}"
        key = idempotency_key if idempotency_key is not None else uuid.uuid4().hex
        headers = {**JSON_TYPE, "Idempotency-Key": key}
        request = Request("POST", "/v1/groups", headers=headers, body=body)
        sent: List[LandfallError] = []
        try:
            told = self._retried(lambda: self._ask(request).json(), sent.append)
        except Problem as problem:
            # A refusal stands in for what an earlier try may have done, but for one that says
            # that the node could not look.
            if may_pass(problem) and sent:
                raise unknown_group(problem, key) from problem
            raise
        except LandfallError as error:
            if sent or isinstance(error, Broken):
                raise unknown_group(error, key) from error
            raise
        spans = tuple(spans_of(told["written"]))
        # All of it became durable at once, so one place stands for all.
        position = str(spans[0].last) if spans else None
        if position is None:
            topic = records[0].topic if records else f"{letters[0]['record']['topic']}.dead"
            position = self.position(topic or "")
        return Receipt(spans, told["duplicates"], 0, position)

    def call(
        self,
        topic: str,
        value: Json,
        *,
        reply: str,
        key: Union[str, bytes, None] = None,
        headers: Headers = (),
        form: Optional[str] = None,
        deadline: Optional[float] = None,
        wait: float = 60.0,
        call_id: Optional[str] = None,
    ) -> Record:
        """Gives a command, and waits for its reply for `wait` seconds.

        `landfall on TOPIC --reply REPLY` obeys it: here, or on a device to which the topic comes
        down. After `deadline` seconds it is not obeyed any more. The command is given once under
        its name, which is drawn; with the `call_id` of a :class:`NoReply`, this waits on for the
        reply of that command. :class:`SetAside` says that it was not obeyed.
        """
        command = NewRecord(value, key, headers, None, form, topic)
        return call(self, command, reply, deadline, wait, call_id)

    # --- Reading ---

    def read(
        self,
        topic: str,
        *,
        start: Optional[Position] = None,
        after: Optional[str] = None,
        origin: Optional[str] = None,
        partition: Optional[int] = None,
        max_records: Optional[int] = None,
        min_position: Optional[Place] = None,
        wait: float = 5.0,
        on_gap: Callable[[Gap], None] = warn_of_gap,
    ) -> Reading:
        """Reads to the end of what is there, from the earliest record or from `start`.

        `start` is ``earliest``, ``latest``, ``@OFFSET``, ``seq:SEQ``, coordinates or a time;
        `after`, in its place, a cursor. `min_position` must be there before, which is waited for.
        """
        query = _reader(start, after, origin, partition, max_records, min_position, wait)
        request = Request("GET", _records(topic), query=query)
        timeout = self._timeout + (wait if min_position is not None else 0)
        return Reading(self._retried(lambda: self._ask(request, timeout)), on_gap)

    def follow(
        self,
        topic: str,
        *,
        start: Optional[Position] = None,
        after: Optional[str] = None,
        origin: Optional[str] = None,
        partition: Optional[int] = None,
        retry_for: Optional[float] = None,
        on_gap: Callable[[Gap], None] = warn_of_gap,
    ) -> Events[Record]:
        """Reads what is there, and then what comes.

        When the connection breaks or the node restarts, it goes on behind the last record, for
        `retry_for` seconds or for ever. Keep ``record.cursor`` and give it as `after` to go on in
        another process.
        """
        if start == "latest":
            # What comes while the first connection breaks is not to be missed.
            start, after = None, self.position(topic)
        query = _reader(start, after, origin, partition, None, None, 0)

        def connect(last: Optional[str]) -> Answer:
            headers = dict(EVENTS_TYPE)
            if last is not None:
                headers["Last-Event-ID"] = last
            asked = {name: value for name, value in query.items() if name != "after"}
            request = Request("GET", _records(topic), query=asked, headers=headers)
            return self._ask(request, SILENCE_MAX)

        def understand(event: Event) -> Optional[Record]:
            if event.kind == "gap":
                on_gap(gap_of(event.data["gap"]))
                return None
            return record_of(event.data, event.id)

        return Events(connect, understand, retry_for, after)

    def position(self, topic: str) -> str:
        """A cursor behind all that the node has by now: a place for `min_position` or `after`."""
        with self.read(topic, start="latest", on_gap=lambda _: None) as reading:
            for _ in reading:
                pass
            return reading.cursor or ""

    # --- Consumers ---

    def consumer(
        self,
        name: str,
        topics: Iterable[str],
        *,
        start: Optional[Position] = None,
        member: Optional[str] = None,
        lease: float = 5.0,
    ) -> Consumer:
        """Takes in every record of topics once; makes the consumer, if there is none.

        A new one begins at the earliest record or at `start`. `member` names this program among
        those that share the work, else a name is drawn; after `lease` seconds without a word of it,
        what it was given is given to others.
        """
        body: Dict[str, Json] = {"consumer": name, "topics": list(topics)}
        if start is not None:
            body["from"] = position_text(start)
        self._post("/v1/consumers", body)

        def group(
            records: Iterable[NewRecord],
            commits: Iterable[Commit],
            dead: Iterable[DeadLetter],
            key: str,
        ) -> Receipt:
            return self.group(records, commits=commits, dead=dead, idempotency_key=key)

        timeouts = (self._timeout, self._retry_for)
        return Consumer(self._ask, group, timeouts, name, member, lease)

    def consumers(self) -> List[_status.ConsumerStatus]:
        """The consumers, and how far they are."""
        told = self._get("/v1/consumers")["consumers"]
        return [_status.told(_status.ConsumerStatus, one) for one in told]

    def seek_consumer(self, name: str, to: Position) -> str:
        """Has a consumer go on at a position or a cursor. Says what was done."""
        told = self._post(f"{_consumer(name)}/seek", {"to": position_text(to)})
        return str(told["done"]["message"])

    def drop_consumer(self, name: str) -> str:
        """Forgets how far a consumer is. Says what was done."""
        told = self._retried(lambda: self._ask(Request("DELETE", _consumer(name))).json())
        return str(told["done"]["message"])

    # --- Views ---

    def query(
        self,
        sql: str,
        *,
        max_rows: int = 1_000,
        max_time: float = 5.0,
        min_position: Optional[Place] = None,
        wait: float = 5.0,
    ) -> Rows:
        """Asks the views one statement that only reads; :func:`sql_literal` quotes values.

        With `min_position`, such as the receipt of an append, the answer is given when the views
        have that behind them.
        """
        body = _question(sql, max_rows, max_time, min_position, wait)
        request = Request("POST", "/v1/query", headers=JSON_TYPE, body=json_bytes(body))
        timeout = self._timeout + max_time + wait
        return rows_of(self._retried(lambda: self._ask(request, timeout).json()))

    def live(
        self,
        sql: str,
        *,
        max_rows: int = 1_000,
        max_time: float = 5.0,
        retry_for: Optional[float] = None,
    ) -> Events[Rows]:
        """Asks the views, and again whenever the answer is another one; the last is never missed."""
        body = json_bytes(_question(sql, max_rows, max_time, None, 0))

        def connect(last: Optional[str]) -> Answer:
            headers = {**JSON_TYPE, **EVENTS_TYPE}
            if last is not None:
                headers["Last-Event-ID"] = last
            request = Request("POST", "/v1/query", headers=headers, body=body)
            return self._ask(request, SILENCE_MAX + max_time)

        return Events(connect, lambda event: rows_of(event.data), retry_for)

    def views(self) -> List[_status.View]:
        """The views, and how far they are."""
        return [_status.told(_status.View, one) for one in self._get("/v1/views")["views"]]

    def verify_view(self, view: str, *, timeout: float = 3_600.0) -> _status.ViewVerdict:
        """Compares a view's rows with the log, which takes as long as making them."""
        request = Request("POST", f"/v1/views/{quote(view, safe='')}/verify", body=b"")
        told = self._retried(lambda: self._ask(request, timeout).json())
        return _status.told(_status.ViewVerdict, told)

    def view_at(
        self,
        view: str,
        coordinates: str,
        sql: Optional[str] = None,
        *,
        max_rows: int = 1_000,
        max_time: float = 5.0,
        accept_loss: bool = False,
        timeout: float = 3_600.0,
    ) -> _status.ViewAt:
        """A view's rows as they were behind a record, which takes as long as making them."""
        asked: Dict[str, Any] = {
            "coordinates": coordinates,
            "rows_max": max_rows,
            "time_max_ms": int(max_time * 1_000),
            "accept_loss": accept_loss,
        }
        if sql is not None:
            asked["sql"] = sql
        path = f"/v1/views/{quote(view, safe='')}/at"
        request = Request("POST", path, headers=JSON_TYPE, body=json_bytes(asked))
        told = self._retried(lambda: self._ask(request, timeout).json())
        return _status.told(_status.ViewAt, told)

    def trace(self, coordinates: str) -> Dict[str, Any]:
        """Where a record came from, and what it touched, as docs/api.md tells it."""
        told: Dict[str, Any] = self._get(f"/v1/trace?record={quote(coordinates, safe='')}")
        return told

    # --- The node ---

    def status(self) -> _status.Status:
        """How the node is."""
        return _status.told(_status.Status, self._get("/v1/status"))

    def health(self) -> _status.Health:
        """That the node answers; raises :class:`Busy` if its thread does not."""
        request = Request("GET", "/v1/health")
        return _status.told(_status.Health, self._ask(request).json())

    def wait_until_up(self, timeout: float = 30.0) -> _status.Health:
        """Waits until the node answers."""
        pauses = Pauses(timeout)
        while True:
            try:
                return self.health()
            except LandfallError as error:
                time.sleep(pauses.next(error))

    def metrics(self) -> str:
        """The numbers of the status for Prometheus."""
        request = Request("GET", "/v1/metrics")
        text: bytes = self._retried(lambda: self._ask(request).whole())
        return text.decode("utf-8")

    def openapi(self) -> Dict[str, Any]:
        """What the API is, for machines."""
        told: Dict[str, Any] = self._get("/v1/openapi.json")
        return told

    # --- What operators do ---

    def sites(self) -> List[_status.Site]:
        """The sites of a hub."""
        return [_status.told(_status.Site, one) for one in self._get("/v1/sites")["sites"]]

    def revoke_site(self, site: str) -> str:
        """Takes a site's rights and cuts its connections. Says what was done."""
        request = Request("POST", f"/v1/sites/{quote(site, safe='')}/revoke", body=b"")
        told = self._retried(lambda: self._ask(request).json())
        return str(told["done"]["message"])

    def split_site(self, site: str, name: Optional[str] = None) -> _status.Token:
        """Makes a token by which a copy of a site goes on as a site of its own.

        It is not sent again by itself when its answer is lost.
        """
        query = {} if name is None else {"name": name}
        path = f"/v1/sites/{quote(site, safe='')}/split"
        told = self._ask(Request("POST", path, query=query, body=b"")).json()
        return _status.told(_status.Token, told["token"])

    def set_rights(
        self,
        site: str,
        *,
        write: Optional[Iterable[str]] = None,
        carry: Optional[Iterable[str]] = None,
        subscribe: Optional[Iterable[str]] = None,
    ) -> str:
        """Changes what a site may do, and says what that is; what is left out stays."""
        lists = {"write": write, "carry": carry, "subscribe": subscribe}
        body = {name: list(given) for name, given in lists.items() if given is not None}
        told = self._post(f"/v1/sites/{quote(site, safe='')}/rights", body)
        return str(told["done"]["message"])

    def create_token(
        self,
        site: str,
        *,
        uses: int = 1,
        valid_for_s: int = 604_800,
        write: Optional[List[str]] = None,
        carry: Iterable[str] = (),
        subscribe: Iterable[str] = (),
    ) -> _status.Token:
        """Makes an enrolment token. It is not sent again by itself when its answer is lost.

        `write` and `subscribe` are topics or patterns that the site may write and may have come
        down (``{site}`` stands for its name), `carry` sites whose records it may bring.
        """
        body: Dict[str, Json] = {"site": site, "uses": uses, "valid_for_s": valid_for_s}
        body["carry"], body["subscribe"] = list(carry), list(subscribe)
        if write is not None:
            body["write"] = write
        request = Request("POST", "/v1/tokens", headers=JSON_TYPE, body=json_bytes(body))
        return _status.told(_status.Token, self._ask(request).json()["token"])

    # --- Below ---

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held between calls; here for `with`."""

    def __repr__(self) -> str:
        return f"Client({str(self._place)!r})"

    def _ask(self, request: Request, timeout: Optional[float] = None) -> Answer:
        return ask(self._place, request, self._timeout if timeout is None else timeout)

    def _get(self, path: str) -> Any:
        return self._retried(lambda: self._ask(Request("GET", path)).json())

    def _post(self, path: str, body: Dict[str, Json]) -> Any:
        request = Request("POST", path, headers=JSON_TYPE, body=json_bytes(body))
        return self._retried(lambda: self._ask(request).json())

    def _retried(
        self, call: Callable[[], Any], broke: Callable[[LandfallError], None] = lambda _: None
    ) -> Any:
        pauses = Pauses(self._retry_for)
        while True:
            try:
                return call()
            except LandfallError as error:
                pause = pauses.next(error)
                if isinstance(error, Broken):
                    broke(error)
                time.sleep(pause)

    def _append(
        self,
        topic: str,
        lines: Iterable[bytes],
        query: Mapping[str, str],
        partition: Optional[int],
        producer: Optional[str],
        first_sequence: int,
    ) -> Receipt:
        asked = {name: value for name, value in query.items() if value}
        if partition is not None:
            asked["partition"] = str(partition)
        own = producer is None
        sequence = self._sequences.take() if own else Sequence(producer or "", first_sequence)
        appending = Appending(self._ask, self._retry_for, _records(topic), asked, sequence)
        try:
            for piece in pieces(lines):
                appending.append(piece)
        finally:
            if own and appending.is_settled:
                self._sequences.give_back(sequence)
        return self._with_position(topic, appending.receipt())

    def _with_position(self, topic: str, receipt: Receipt) -> Receipt:
        if receipt.count == 0 and receipt.duplicates == 0:
            return receipt
        spans = receipt.spans
        streams = {(one.first.origin, one.first.topic, one.first.partition) for one in spans}
        if len(streams) == 1 and receipt.duplicates == 0:
            position = str(spans[-1].last)
        else:
            # No coordinates stand for all of them.
            position = self.position(topic)
        return Receipt(spans, receipt.duplicates, receipt.skipped, position)


def _consumer(name: str) -> str:
    return f"/v1/consumers/{quote(name, safe='')}"


def _records(topic: str) -> str:
    return f"/v1/topics/{quote(topic, safe='')}/records"


def _line(line: Union[str, bytes]) -> bytes:
    encoded = line.encode("utf-8") if isinstance(line, str) else line
    encoded = encoded.rstrip(b"\r\n")
    if b"\n" in encoded:
        raise ValueError(f"a line with a line end in it: {encoded[:80]!r}")
    return encoded


def _reader(
    start: Optional[Position],
    after: Optional[str],
    origin: Optional[str],
    partition: Optional[int],
    max_records: Optional[int],
    min_position: Optional[Place],
    wait: float,
) -> Dict[str, str]:
    if start is not None and after is not None:
        raise ValueError("give `start` or `after`, not both")
    pairs: List[Tuple[str, Optional[str]]] = [
        ("from", None if start is None else position_text(start)),
        ("after", after),
        ("origin", origin),
        ("partition", None if partition is None else str(partition)),
        ("max", None if max_records is None else str(max_records)),
    ]
    if min_position is not None:
        pairs += [("min_position", place_text(min_position)), ("wait_max_ms", wait_text(wait))]
    return {name: value for name, value in pairs if value is not None}


def _question(
    sql: str, max_rows: int, max_time: float, min_position: Optional[Place], wait: float
) -> Dict[str, Json]:
    body: Dict[str, Json] = {"sql": sql, "rows_max": max_rows}
    body["time_max_ms"] = round(max_time * 1_000)
    if min_position is not None:
        body["min_position"] = place_text(min_position)
        body["wait_max_ms"] = round(wait * 1_000)
    return body
