"""Records, and where they are."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple, Union

#: What `json.dumps` takes. A narrower type would refuse dicts whose values are of several types.
Json = Any
#: Headers: by name, or pairs where names repeat. A value is text, bytes or nothing.
Headers = Union[
    Mapping[str, Union[str, bytes, None]], Iterable[Tuple[str, Union[str, bytes, None]]]
]
#: An aware `datetime`, or milliseconds since 1970.
Time = Union[datetime, int]

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Coordinates:
    """What a record is, on every node and for ever: ``ship-17/ais/0@4711``."""

    origin: str
    topic: str
    partition: int
    offset: int
    #: 64 bits in hexadecimal; none means the newest.
    epoch: Optional[str] = None

    @classmethod
    def parse(cls, text: str) -> Coordinates:
        """Reads ``ORIGIN/TOPIC/PARTITION@OFFSET``, with ``~EPOCH`` behind it or without."""
        stream, _, place = text.partition("@")
        parts = stream.split("/")
        offset, _, epoch = place.partition("~")
        if len(parts) != 3 or not parts[2].isdecimal() or not offset.isdecimal():
            raise ValueError(f"{text!r} is not coordinates; ship-17/ais/0@4711 is")
        return cls(parts[0], parts[1], int(parts[2]), int(offset), epoch or None)

    def __str__(self) -> str:
        epoch = f"~{self.epoch}" if self.epoch else ""
        return f"{self.origin}/{self.topic}/{self.partition}@{self.offset}{epoch}"


@dataclass(frozen=True)
class Header:
    """One header of a record; names may repeat."""

    name: str
    value: Union[str, bytes, None]


@dataclass(frozen=True)
class Record:
    """A record as it was read."""

    topic: str
    origin: str
    epoch: str
    partition: int
    offset: int
    lane: str
    seq: int
    #: Milliseconds since 1970.
    timestamp_ms: int
    #: Bytes if it is no text.
    key: Union[str, bytes, None]
    #: What the JSON says; text or bytes as `form` says; `None` for a tombstone.
    value: Any
    #: ``json``, ``text``, ``bytes`` or ``tombstone``.
    form: str
    headers: Tuple[Header, ...]
    #: The place behind it, to go on from; only of a record that was followed.
    cursor: Optional[str] = None

    @property
    def is_tombstone(self) -> bool:
        """Whether it says that its key is no more."""
        return self.form == "tombstone"

    @property
    def timestamp(self) -> datetime:
        """Its time, in UTC. `OverflowError` if no `datetime` can be so far away."""
        return EPOCH + timedelta(milliseconds=self.timestamp_ms)

    @property
    def coordinates(self) -> Coordinates:
        """What it is, on every node."""
        return Coordinates(self.origin, self.topic, self.partition, self.offset, self.epoch)

    def header(self, name: str) -> Union[str, bytes, None]:
        """The last value of a header, `None` if there is none."""
        found = [header.value for header in self.headers if header.name == name]
        return found[-1] if found else None


@dataclass(frozen=True)
class Gap:
    """Offsets `start` up to but not `end` of a stream are missing here for good."""

    stream: str
    start: int
    end: int
    why: str


@dataclass(frozen=True)
class Span:
    """Records that were written, with consecutive offsets."""

    first: Coordinates
    count: int

    @property
    def last(self) -> Coordinates:
        """The last of them."""
        one = self.first
        offset = one.offset + max(self.count, 1) - 1
        return Coordinates(one.origin, one.topic, one.partition, offset, one.epoch)


@dataclass(frozen=True)
class Receipt:
    """What was written: it is synced to this node's disk."""

    spans: Tuple[Span, ...] = ()
    #: Records that had been written before under the same names, such as by a try whose answer
    #: was lost. Their coordinates are not told again.
    duplicates: int = 0
    #: Lines that were passed over because they are no records.
    skipped: int = 0
    #: A place at or behind the last record: give it as `min_position` to read your own writes.
    position: Optional[str] = None

    @property
    def count(self) -> int:
        """Records that were written by this call."""
        return sum(span.count for span in self.spans)


@dataclass(frozen=True)
class NewRecord:
    """A record to be written.

    `value` is JSON, or `bytes`, which are kept as they are. A `form` says otherwise: ``text`` for
    text that is not JSON, ``tombstone`` (see :meth:`tombstone`) for a key that is no more.
    """

    value: Json = None
    key: Union[str, bytes, None] = None
    headers: Headers = ()
    #: The time of the append, if left out.
    timestamp: Optional[Time] = None
    form: Optional[str] = None
    #: Only in groups, where it must be there.
    topic: Optional[str] = None
    #: Only in groups; by key if left out.
    partition: Optional[int] = None

    @classmethod
    def tombstone(
        cls,
        key: Union[str, bytes],
        *,
        headers: Headers = (),
        timestamp: Optional[Time] = None,
        topic: Optional[str] = None,
        partition: Optional[int] = None,
    ) -> NewRecord:
        """A record that deletes its key."""
        return cls(None, key, headers, timestamp, "tombstone", topic, partition)


@dataclass(frozen=True)
class Condition:
    """A condition of a group: the last record that this node has written to a partition, or of a
    key in it, is the one at `offset`; without `offset`, there is none."""

    topic: str
    key: Union[str, bytes, None] = None
    offset: Optional[int] = None
    partition: Optional[int] = None

    def body(self) -> Dict[str, Json]:
        """The condition as the API takes it."""
        body: Dict[str, Json] = {"topic": self.topic}
        if self.key is not None:
            body["key"] = _plain(self.key)
        if self.offset is not None:
            body["offset"] = self.offset
        if self.partition is not None:
            body["partition"] = self.partition
        return body


def body_of(record: NewRecord, *, in_group: bool) -> bytes:
    """A record as the API takes it, in one line of JSON. `ValueError` if it can't be written."""
    body: Dict[str, Json] = {}
    if in_group:
        if record.topic is None:
            raise ValueError("a record of a group needs its topic")
        body["topic"] = record.topic
        if record.partition is not None:
            body["partition"] = record.partition
    elif record.topic is not None or record.partition is not None:
        raise ValueError("topic and partition of a record go with `group`; give them to the call")
    if record.key is not None:
        body["key"] = _plain(record.key)
    form = record.form or ("bytes" if isinstance(record.value, bytes) else "json")
    if form == "tombstone":
        if record.key is None or record.value is not None:
            raise ValueError("a tombstone has a key and no value")
    elif form in ("text", "bytes"):
        if not isinstance(record.value, (str, bytes)):
            raise ValueError(f"a value of the form {form} is text or bytes")
        body["value"] = _plain(record.value)
    elif form == "json" and not isinstance(record.value, bytes):
        body["value"] = record.value
    else:
        raise ValueError(f"no value of {type(record.value).__name__} has the form {form!r}")
    if form != "json":
        body["form"] = form
    headers = _headers(record.headers)
    if headers:
        body["headers"] = headers
    if record.timestamp is not None:
        body["timestamp"] = milliseconds(record.timestamp)
    return json_bytes(body)


def json_bytes(value: Json) -> bytes:
    """Compact JSON on one line. `ValueError` for numbers and text that JSON can't hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


def milliseconds(time: Time) -> int:
    """Milliseconds since 1970. A `datetime` must say its zone."""
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise ValueError(f"{time} has no time zone; say tzinfo=timezone.utc, for example")
        return (time - EPOCH) // timedelta(milliseconds=1)
    return int(time)


def record_of(told: Mapping[str, Any], cursor: Optional[str] = None) -> Record:
    """A record as the API tells it."""
    form = str(told.get("form", "json"))
    value = told.get("value")
    return Record(
        topic=told["topic"],
        origin=told["origin"],
        epoch=told["epoch"],
        partition=told["partition"],
        offset=told["offset"],
        lane=told["lane"],
        seq=told["seq"],
        timestamp_ms=_parsed_time(told["timestamp"]),
        key=bytes_or_text(told["key"]),
        value=bytes_or_text(value) if form == "bytes" else value,
        form=form,
        headers=tuple(Header(one["name"], bytes_or_text(one["value"])) for one in told["headers"]),
        cursor=cursor,
    )


def told_of(record: Record) -> Dict[str, Json]:
    """A record that was read, as the API told it."""
    told: Dict[str, Json] = {"topic": record.topic, "origin": record.origin, "epoch": record.epoch}
    told.update(partition=record.partition, offset=record.offset, timestamp=record.timestamp_ms)
    told["key"] = None if record.key is None else _plain(record.key)
    if record.form == "tombstone":
        told["form"] = record.form
    else:
        in_bytes = isinstance(record.value, bytes)
        told["value"] = _plain(record.value) if in_bytes else record.value
        if record.form != "json":
            told["form"] = record.form
    told["headers"] = _headers((one.name, one.value) for one in record.headers)
    return told


def gap_of(told: Mapping[str, Any]) -> Gap:
    """A gap as the API tells it."""
    return Gap(told["stream"], told["from"], told["to"], told["why"])


def spans_of(told: Iterable[Mapping[str, Any]]) -> List[Span]:
    """Spans as the API tells them."""
    return [Span(Coordinates.parse(one["first"]), one["count"]) for one in told]


def bytes_or_text(told: Any) -> Any:
    """Text or nothing as it is, and bytes out of their JSON."""
    return base64.b64decode(told["base64"]) if isinstance(told, dict) else told


def _plain(value: Union[str, bytes]) -> Json:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    return value


def header_pairs(headers: Headers) -> Iterable[Tuple[str, Union[str, bytes, None]]]:
    """Names and values of headers."""
    return headers.items() if isinstance(headers, Mapping) else headers


def _headers(headers: Headers) -> List[Json]:
    made: List[Json] = []
    for name, value in header_pairs(headers):
        made.append({"name": name} if value is None else {"name": name, "value": _plain(value)})
    return made


def _parsed_time(text: str) -> int:
    """RFC 3339 in UTC with milliseconds. Years may have any number of digits, and a sign."""
    date, _, clock = text.partition("T")
    year, month, day = date.rsplit("-", 2)
    hour, minute, second = clock.rstrip("Z").split(":")
    # The calendar repeats every 400 years, in which a `datetime` can always be.
    ages, within = divmod(int(year) - 2000, 400)
    days = (datetime(2000 + within, int(month), int(day), tzinfo=timezone.utc) - EPOCH).days
    seconds = (days + ages * 146_097) * 86_400 + int(hour) * 3_600 + int(minute) * 60
    return seconds * 1_000 + round(float(second) * 1_000)
