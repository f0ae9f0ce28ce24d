"""HTTP/1.1 over a Unix socket or loopback TCP, with bounds on time and memory.

Each request has a connection of its own. An answer is taken piece by piece: what a caller does
not take, the node is not asked for. A read that runs out of time leaves everything as it was, so
that it can be tried again.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple
from urllib.parse import urlencode

from ._errors import Broken, NotUnderstood, Unreachable, problem

RECEIVE_BYTES = 64 << 10
HEAD_BYTES_MAX = 64 << 10
#: An answer that is one JSON object: ten thousand sites, or 8 MiB of rows with escapes.
ANSWER_BYTES_MAX = 64 << 20
#: A line of an answer: a record of 256 KiB grows by escapes to at most six times.
LINE_BYTES_MAX = 2 << 20


class Late(Exception):
    """Nothing came in time; the connection is as it was."""


class Place:
    """Where a node's API is."""

    def __init__(
        self,
        *,
        path: Optional[str] = None,
        address: Optional[Tuple[str, int]] = None,
        token: Optional[str] = None,
    ) -> None:
        self.path, self.address, self.token = path, address, token

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        host, port = self.address or ("", 0)
        return f"{host}:{port}"

    def connect(self, timeout: float) -> socket.socket:
        """A new connection."""
        try:
            if self.path is None:
                return socket.create_connection(self.address or ("", 0), timeout)
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(timeout)
                connection.connect(self.path)
            except BaseException:
                connection.close()
                raise
            return connection
        except OSError as error:
            raise Unreachable(
                f"no node answers at {self}: {error}; is it running, and may this user reach it?"
            ) from error


class Request:
    """What is asked of a node."""

    def __init__(
        self,
        method: str,
        path: str,
        *,
        query: Optional[Mapping[str, str]] = None,
        headers: Optional[Mapping[str, str]] = None,
        body: Optional[bytes] = None,
    ) -> None:
        self.method, self.path, self.body = method, path, body
        self.query, self.headers = dict(query or {}), dict(headers or {})

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def head(self, token: Optional[str]) -> bytes:
        """The request without its body."""
        target = self.path + ("?" + urlencode(self.query) if self.query else "")
        lines = [f"{self.method} {target} HTTP/1.1", "Host: landfall", "Connection: close"]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body is not None:
            lines.append(f"Content-Length: {len(self.body)}")
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError(f"{self}: a header can't have a line end")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def ask(place: Place, request: Request, timeout: float) -> Answer:
    """Sends a request and takes the head of the answer. A refusal is raised as a problem."""
    head = request.head(place.token)
    connection = place.connect(timeout)
    try:
        answer = Answer(connection, f"{request} at {place}", timeout)
        try:
            connection.sendall(head + (request.body or b""))
        except OSError as error:
            # The node may have refused before it had everything: then it has said why.
            answer.sent(error)
        answer.take_head()
        return answer
    except BaseException:
        connection.close()
        raise


class Answer:
    """An answer on its way."""

    def __init__(self, connection: socket.socket, where: str, timeout: float) -> None:
        self._connection, self._where, self._timeout = connection, where, timeout
        self._buffer = bytearray()
        self._text = bytearray()
        self._searched = 0
        self._left: Optional[int] = None
        self._chunked = self._between = self._ended = False
        self._send_error: Optional[OSError] = None

    def sent(self, error: OSError) -> None:
        """Takes note that the request could not be sent whole."""
        self._send_error = error

    def take_head(self) -> None:
        """Takes status and headers."""
        lines = self._head().decode("latin-1").split("\r\n")
        parts = lines[0].split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise NotUnderstood(f"no HTTP in the answer to {self._where}: {lines[0][:80]!r}")
        headers: Dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        if not self._chunked and "content-length" in headers:
            self._left = int(headers["content-length"])
        if not self._chunked and self._left is None:
            raise NotUnderstood(f"no length in the answer to {self._where}")
        status = int(parts[1])
        if status not in (200, 201):
            raise self._refusal(status)
        if self._send_error is not None:
            raise self._broken(str(self._send_error))

    def json(self) -> Any:
        """The whole answer as one JSON value."""
        return self._parsed(self.whole())

    def whole(self) -> bytes:
        """The whole answer; closes it."""
        with self:
            while True:
                piece = self._piece(None)
                if not piece:
                    return bytes(self._text)
                self._text += piece
                if len(self._text) > ANSWER_BYTES_MAX:
                    raise NotUnderstood(f"the answer to {self._where} is longer than 64 MiB")

    def lines(self, bytes_max: int = LINE_BYTES_MAX) -> Iterator[bytes]:
        """The lines of the answer, as they come."""
        while True:
            line = self.line(None, bytes_max)
            if line is None:
                return
            yield line

    def line(self, wait: Optional[float], bytes_max: int = LINE_BYTES_MAX) -> Optional[bytes]:
        """The next line without its end, `None` at the end of the answer.

        Raises `Late` after `wait` seconds, and `Broken` after the time in which a node is never
        silent.
        """
        deadline = None if wait is None else time.monotonic() + wait
        while True:
            end = self._text.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._text[:end])
                del self._text[: end + 1]
                self._searched = 0
                return line
            self._searched = len(self._text)
            if self._searched > bytes_max:
                raise NotUnderstood(f"a line without end in the answer to {self._where}")
            piece = self._piece(deadline)
            if not piece:
                if self._text:
                    raise self._broken("the last line is cut off")
                return None
            self._text += piece

    def parsed_line(self, line: bytes) -> Dict[str, Any]:
        """A line that is a JSON object; one with an error is raised."""
        told = self._parsed(line)
        if not isinstance(told, dict):
            raise NotUnderstood(f"{line[:80]!r} in the answer to {self._where}")
        if isinstance(told.get("error"), dict):
            raise problem(told["error"], self._where)
        return told

    def ended_early(self) -> Broken:
        """The error for an answer that lacks its last line."""
        return self._broken("it has no end")

    def close(self) -> None:
        """Ends the connection. A thread that waits for it finds it broken."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # The node has closed it.
        self._connection.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refusal(self, status: int) -> Exception:
        try:
            told = self.json()
        except (Broken, NotUnderstood):
            told = None
        if isinstance(told, dict) and "code" in told:
            return problem(told, self._where)
        return NotUnderstood(f"status {status} without a problem for {self._where}")

    def _parsed(self, text: bytes) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise NotUnderstood(f"no JSON in the answer to {self._where}: {error}") from error

    def _head(self) -> bytes:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end >= 0:
                head = bytes(self._buffer[:end])
                del self._buffer[: end + 4]
                return head
            if len(self._buffer) > HEAD_BYTES_MAX:
                raise NotUnderstood(f"a head without end in the answer to {self._where}")
            self._receive(None)

    def _piece(self, deadline: Optional[float]) -> bytes:
        """The next bytes of the body, none at its end."""
        if self._chunked and not self._ended and not self._left:
            self._chunk(deadline)
        if self._ended or self._left == 0:
            return b""
        if not self._buffer:
            self._receive(deadline)
        piece = bytes(self._buffer[: self._left])
        del self._buffer[: len(piece)]
        self._left = (self._left or 0) - len(piece)
        return piece

    def _chunk(self, deadline: Optional[float]) -> None:
        """Takes the head of the next chunk, and what ends the one before."""
        while True:
            start = 2 if self._between else 0
            end = self._buffer.find(b"\r\n", start)
            if end >= 0:
                break
            if len(self._buffer) > HEAD_BYTES_MAX:
                raise NotUnderstood(f"a chunk without end in the answer to {self._where}")
            self._receive(deadline)
        try:
            self._left = int(bytes(self._buffer[start:end]).split(b";")[0], 16)
        except ValueError as error:
            raise NotUnderstood(f"no chunks in the answer to {self._where}") from error
        del self._buffer[: end + 2]
        self._between, self._ended = True, self._left == 0

    def _receive(self, deadline: Optional[float]) -> None:
        wait = self._timeout
        if deadline is not None:
            wait = min(wait, max(deadline - time.monotonic(), 0.0))
        try:
            # Zero would mean not to wait at all, and another error.
            self._connection.settimeout(max(wait, 0.001))
            received = self._connection.recv(RECEIVE_BYTES)
        except socket.timeout as error:
            if deadline is not None and time.monotonic() >= deadline:
                raise Late from error
            raise self._broken(f"nothing came for {self._timeout:g} s") from error
        except OSError as error:
            raise self._broken(str(error)) from error
        if not received:
            raise self._broken("the node closed it")
        self._buffer += received

    def _broken(self, why: str) -> Broken:
        return Broken(f"the answer to {self._where} broke off: {why}; the node's log may say more")
