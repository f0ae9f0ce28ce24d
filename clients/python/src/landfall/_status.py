"""What a node says of itself, its views and its sites.

Fields that a newer node adds are passed over.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type, TypeVar, Union, get_type_hints

from ._errors import NotUnderstood

T = TypeVar("T")


@dataclass(frozen=True)
class Lane:
    """A priority class of records, and how far it is."""

    name: str
    next_seq: int
    durable_seq: int
    root_seq: int
    behind_records: int
    behind_bytes: int
    budget_bytes: int
    used_bytes: int
    on_full: str


@dataclass(frozen=True)
class Link:
    """The way upstream: ``connecting``, ``catching_up``, ``synced``, ``waiting``, ``resting`` or
    ``refused``."""

    state: str
    since_ms: int
    why: str
    address: Optional[str]
    carrier: Optional[str]
    attempts: int


@dataclass(frozen=True)
class Streams:
    """How many streams and records there are."""

    own: int
    others: int
    topics: int
    records: int


@dataclass(frozen=True)
class Fork:
    """Two histories of one stream."""

    stream: str
    offset: int
    branches: List[str]
    what: str
    hint: str


@dataclass(frozen=True)
class StatedGap:
    """Offsets `from_` up to but not `to` of a stream are missing here for good."""

    stream: str
    from_: int
    to: int
    why: str


@dataclass(frozen=True)
class Alarm:
    """What a person should act on."""

    what: str
    where: str
    hint: str
    since_ms: int


@dataclass(frozen=True)
class Site:
    """A node that is registered at this hub."""

    site: str
    state: str
    last_contact_ms: Optional[int]
    version: Optional[str]
    behind_records: Optional[int]
    behind_bytes: Optional[int]
    oldest_unsent_ms: Optional[int]
    full_at_ms: Optional[int]
    alarms: List[str]


@dataclass(frozen=True)
class NextGeneration:
    """A generation of a view that is being built."""

    generation: int
    commit: int
    records: int
    reason: Optional[str]


@dataclass(frozen=True)
class View:
    """A view, and how far it is: ``running``, ``failed``, ``halted`` or ``waiting``."""

    view: str
    topics: List[str]
    generation: int
    state: str
    reason: Optional[str]
    commit: int
    behind_commits: int
    caught_up: bool
    records: int
    errors: int
    lacking: int
    derives: List[str]
    derived: int
    outbox: int
    next: Optional[NextGeneration]


@dataclass(frozen=True)
class Share:
    """A share of a consumer's keys: how many of 64 slots, and how far it has come."""

    cursor: Optional[str]
    slots: int


@dataclass(frozen=True)
class Member:
    """A program that shares a consumer's work, and how long it counts as alive."""

    member: str
    slots: int
    lease_ms: int


@dataclass(frozen=True)
class ConsumerStatus:
    """A consumer, and how far it is."""

    consumer: str
    topics: List[str]
    #: `None`: its place was lost, and it must seek.
    cursor: Optional[str]
    behind_records: int
    #: Records that were forgotten before it took them in.
    lacking: int
    behind_commits: int
    shares: List[Share]
    members: List[Member]


@dataclass(frozen=True)
class Subscription:
    """A topic that comes down from the node above, and how it stands."""

    topic: str
    #: ``offline``, ``coming``, ``level``, ``no_room`` or ``refused``.
    state: str
    #: Why the node above does not send it.
    why: Optional[str]


@dataclass(frozen=True)
class Status:
    """A node at one moment. Times that end in ``_ms`` are milliseconds since 1970."""

    site: str
    version: str
    log_id: str
    epoch: str
    now_ms: int
    lanes: List[Lane]
    #: `None` at a root.
    link: Optional[Link]
    subscriptions: List[Subscription]
    streams: Streams
    forks: List[Fork]
    gaps: List[StatedGap]
    alarms: List[Alarm]
    sites: List[Site]
    offences: Dict[str, int]
    views: List[View]
    consumers: List[ConsumerStatus]


@dataclass(frozen=True)
class Health:
    """That a node answers."""

    healthy: bool
    alarms: int


@dataclass(frozen=True)
class Token:
    """An enrolment token."""

    token: str
    site: str
    uses: int
    expires_ms: int


@dataclass(frozen=True)
class TableVerdict:
    """A table of a view beside what the log makes of it."""

    table: str
    rows: int
    rows_again: int
    surplus: int
    missing: int
    surplus_rows: List[str]
    missing_rows: List[str]


@dataclass(frozen=True)
class ViewVerdict:
    """A view's rows beside those that the log makes."""

    view: str
    generation: int
    commit: int
    records: int
    records_again: int
    lacking: int
    tables: List[TableVerdict]

    @property
    def is_same(self) -> bool:
        """Whether the rows are those that the log makes."""
        return all(table.surplus == 0 and table.missing == 0 for table in self.tables)


@dataclass(frozen=True)
class ViewAt:
    """A view's rows as they were behind a record."""

    view: str
    coordinates: str
    commit: int
    records: int
    lacking: int
    columns: List[str]
    rows: List[List[Any]]
    truncated: bool


def told(kind: Type[T], value: Any) -> T:
    """A value of the API as what it is."""
    made: T = _made(kind, value, kind.__name__)
    return made


def _made(kind: Any, value: Any, where: str) -> Any:
    origin = getattr(kind, "__origin__", None)
    arguments: Tuple[Any, ...] = getattr(kind, "__args__", ())
    if origin is Union:
        return None if value is None else _made(arguments[0], value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _object(kind, value, where)
    if origin is list and isinstance(value, list):
        return [_made(arguments[0], one, where) for one in value]
    if origin is dict and isinstance(value, dict):
        return {name: _made(arguments[1], one, where) for name, one in value.items()}
    if isinstance(kind, type) and isinstance(value, kind):
        return value
    raise NotUnderstood(f"{where} is no {kind}: {value!r:.80}")


def _object(kind: Type[Any], value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise NotUnderstood(f"{where} is no object: {value!r:.80}")
    fields: Dict[str, Any] = {}
    for name, of in _fields(kind):
        # `from` is a word of the language.
        key = name.rstrip("_")
        if key not in value:
            raise NotUnderstood(f"{where} has no `{key}`")
        fields[name] = _made(of, value[key], f"{where}.{key}")
    return kind(**fields)


def _fields(kind: Type[Any]) -> List[Tuple[str, Any]]:
    hints = get_type_hints(kind)
    return [(field.name, hints[field.name]) for field in dataclasses.fields(kind)]
