"""Append, read, follow and query a Landfall node, with or without a link.

>>> import landfall
>>> node = landfall.Client("DIR")                       # doctest: +SKIP
>>> node.append("ais", {"sog": 7.5}, key="338148873")   # doctest: +SKIP
"""

from ._call import NoReply, SetAside
from ._client import Client
from ._consume import Batch, Commit, Consumer, DeadLetter
from ._errors import (
    BadLine,
    BadRequest,
    Broken,
    Busy,
    Conflict,
    DiskFull,
    Forbidden,
    Gone,
    Internal,
    LandfallError,
    LaneFull,
    MethodNotAllowed,
    NotFound,
    NotUnderstood,
    NotYet,
    OutcomeUnknown,
    Problem,
    Stopping,
    TooLarge,
    TooLong,
    Unauthorized,
    UnknownSite,
    UnknownTopic,
    Unmet,
    Unreachable,
)
from ._events import Events
from ._read import GapWarning, Reading, Rows, sql_literal
from ._records import Condition, Coordinates, Gap, Header, NewRecord, Receipt, Record, Span
from ._status import ConsumerStatus, Health, Site, Status, Token, View, ViewAt, ViewVerdict

__version__ = "0.1.0"

__all__ = [
    "BadLine",
    "BadRequest",
    "Batch",
    "Broken",
    "Busy",
    "Client",
    "Commit",
    "Condition",
    "Conflict",
    "Consumer",
    "ConsumerStatus",
    "Coordinates",
    "DeadLetter",
    "DiskFull",
    "Events",
    "Forbidden",
    "Gap",
    "GapWarning",
    "Gone",
    "Header",
    "Health",
    "Internal",
    "LandfallError",
    "LaneFull",
    "MethodNotAllowed",
    "NewRecord",
    "NoReply",
    "NotFound",
    "NotUnderstood",
    "NotYet",
    "OutcomeUnknown",
    "Problem",
    "Reading",
    "Receipt",
    "Record",
    "Rows",
    "SetAside",
    "Site",
    "Span",
    "Status",
    "Stopping",
    "Token",
    "TooLarge",
    "TooLong",
    "Unauthorized",
    "UnknownSite",
    "UnknownTopic",
    "Unmet",
    "Unreachable",
    "View",
    "ViewAt",
    "ViewVerdict",
    "sql_literal",
]
