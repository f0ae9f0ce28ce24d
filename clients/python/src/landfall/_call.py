"""Commands: a record that is obeyed somewhere, and the reply to it."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Optional

from ._errors import LandfallError
from ._records import Headers, Json, NewRecord, Record, header_pairs

if TYPE_CHECKING:
    from ._client import Client


class NoReply(LandfallError):
    """No reply came in time. The command was given, and may still be obeyed.

    The same call with ``call_id`` waits on for the reply, and does not give the command again.
    """

    def __init__(self, message: str, call_id: str) -> None:
        super().__init__(message)
        self.call_id = call_id


class SetAside(LandfallError):
    """Whoever obeys the commands has set this one aside; ``reply`` is the record that says so."""

    def __init__(self, why: str, reply: Record) -> None:
        super().__init__(f"the command was set aside: {why}")
        self.reply = reply


def call(
    client: Client,
    command: NewRecord,
    reply: str,
    deadline: Optional[float],
    wait: float,
    call_id: Optional[str],
) -> Record:
    """What :meth:`Client.call` does."""
    until = time.monotonic() + wait
    # What was called for before may have its reply already.
    after = client.position(reply) if call_id is None else None
    name = call_id if call_id is not None else uuid.uuid4().hex
    headers = [*header_pairs(command.headers), ("correlation", name)]
    if deadline is not None:
        headers.append(("deadline", str(round((time.time() + deadline) * 1_000))))
    client.group([replace(command, headers=headers)], idempotency_key=f"call:{name}")
    with client.follow(reply, after=after) as replies:
        while True:
            record = replies.next(timeout=max(until - time.monotonic(), 0.0))
            if record is None:
                text = f"no reply in {reply} within {wait:g} s; call again with call_id={name!r}"
                raise NoReply(text, name)
            if record.header("correlation") != name:
                continue
            why = record.header("error")
            if why is not None:
                raise SetAside(str(why), record)
            return record
