"""Reading to the end, and what asks the views."""

from __future__ import annotations

import warnings
from datetime import datetime
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

from ._errors import LandfallError
from ._records import (
    Coordinates,
    Gap,
    Receipt,
    Record,
    Time,
    bytes_or_text,
    gap_of,
    milliseconds,
    record_of,
)
from ._wire import Answer

#: Where to begin: ``earliest``, ``latest``, ``@OFFSET``, ``seq:SEQ``, coordinates, or a time.
Position = Union[str, Coordinates, datetime]
#: What must be behind a reader: what an append gave, coordinates, or a cursor.
Place = Union[str, Coordinates, Receipt]
#: What a row has.
SqlValue = Union[None, int, float, str, bytes]


class GapWarning(UserWarning):
    """Records are missing here for good."""


def warn_of_gap(gap: Gap) -> None:
    """What is done about a gap unless the caller says otherwise."""
    text = f"offsets {gap.start} to {gap.end} of {gap.stream} are missing: {gap.why}"
    warnings.warn(text, GapWarning, stacklevel=4)


class Reading:
    """Records as they come; an iterator. Close it if it is not read to its end."""

    def __init__(self, answer: Answer, on_gap: Callable[[Gap], None]) -> None:
        self._answer, self._on_gap = answer, on_gap
        #: Where to go on, by `after`; there when all was read.
        self.cursor: Optional[str] = None

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        while self.cursor is None:
            try:
                line = self._answer.line(None)
                if line is None:
                    raise self._answer.ended_early()
                told = self._answer.parsed_line(line)
            except LandfallError:
                self.close()
                raise
            if "end" in told:
                self.cursor = str(told["end"]["cursor"])
                self.close()
            elif "gap" in told:
                self._on_gap(gap_of(told["gap"]))
            else:
                return record_of(told)
        raise StopIteration

    def close(self) -> None:
        """Ends the connection."""
        self._answer.close()

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Rows(NamedTuple):
    """What the views answer: rows of one moment."""

    columns: Tuple[str, ...]
    rows: List[Tuple[SqlValue, ...]]
    #: Whether there were more rows than the answer may have.
    truncated: bool

    def dicts(self) -> List[Dict[str, SqlValue]]:
        """The rows by the names of their columns; of columns with one name, the last."""
        return [dict(zip(self.columns, row)) for row in self.rows]


def rows_of(told: Mapping[str, Any]) -> Rows:
    """An answer of the views as the API tells it."""
    rows = [tuple(bytes_or_text(value) for value in row) for row in told["rows"]]
    return Rows(tuple(told["columns"]), rows, told["truncated"])


def sql_literal(value: SqlValue) -> str:
    """A value as it stands in SQL: text that programs get from others goes through this."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("text with a zero byte can't stand in SQL")
        return "'" + value.replace("'", "''") + "'"
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{value} can't stand in SQL")
    return repr(int(value) if isinstance(value, bool) else value)


def position_text(position: Position) -> str:
    """A position as the API takes it."""
    if isinstance(position, datetime):
        milliseconds(position)
        return position.isoformat(timespec="milliseconds")
    return str(position)


def place_text(place: Place) -> str:
    """A place as the API takes it."""
    if isinstance(place, Receipt):
        if place.position is None:
            raise ValueError("this receipt has no position; nothing was written")
        return place.position
    return str(place)


def wait_text(seconds: float) -> str:
    """A time as the API takes it."""
    return str(round(seconds * 1_000))


__all__ = ["GapWarning", "Place", "Position", "Reading", "Rows", "SqlValue", "Time", "sql_literal"]
