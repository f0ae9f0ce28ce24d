"""Answers as bytes, however they fall: what is whole is taken, and nothing else passes for it."""

from __future__ import annotations

import socket
import tempfile
import threading
import unittest
from pathlib import Path
from typing import List

import landfall
from landfall import _wire

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
RECORD = (
    b'{"topic":"t","origin":"o","epoch":"1f","partition":0,"offset":1,"lane":"normal","seq":2,'
    b'"timestamp":"2022-01-03T00:00:00.250Z","key":null,"value":1,"headers":[]}\n'
)
END = b'{"end":{"cursor":"1-2-3-4","records":1}}\n'


def chunks(*parts: bytes) -> bytes:
    """Parts as chunks, and what ends them."""
    body = b"".join(b"%x;x=y\r\n%b\r\n" % (len(part), part) for part in parts)
    return HEAD + body + b"0\r\n\r\n"


class WireTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="lf-")
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "socket")
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.client = landfall.Client(socket=self.path, timeout=10.0, retry_for=0.0)

    def answer(self, pieces: List[bytes], keep_open: bool = False) -> None:
        """Answers the next request by these bytes, in these pieces."""

        def serve() -> None:
            connection, _ = self.listener.accept()
            with connection:
                connection.recv(64 << 10)
                try:
                    for piece in pieces:
                        connection.sendall(piece)
                    if not keep_open:
                        connection.shutdown(socket.SHUT_WR)
                    # Until the client has gone.
                    while connection.recv(64 << 10):
                        pass
                except OSError:
                    pass  # The client went earlier.

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 10)

    def read(self) -> List[object]:
        return [record.value for record in self.client.read("t")]

    def test_an_answer_is_the_same_however_its_bytes_fall(self) -> None:
        whole = chunks(RECORD[:50], RECORD[50:] + RECORD, END)
        for size in (1, 2, 3, 7, 64, len(whole)):
            self.answer([whole[at : at + size] for at in range(0, len(whole), size)])
            self.assertEqual(self.read(), [1, 1], f"pieces of {size}")

    def test_an_answer_that_is_cut_anywhere_is_broken(self) -> None:
        whole = chunks(RECORD, RECORD[:80], RECORD[80:], END)
        # What follows the line with the end is only how chunks end.
        last = whole.index(END) + len(END)
        for cut in [*range(0, last, 9), last - 1]:
            self.answer([whole[:cut]])
            with self.subTest(cut=cut), self.assertRaises(landfall.Broken):
                self.read()

    def test_an_answer_without_its_last_line_is_broken_even_if_it_ends_well(self) -> None:
        for parts in ([], [RECORD], [RECORD, END[:-1]]):
            self.answer([chunks(*parts)])
            with self.subTest(parts), self.assertRaises(landfall.Broken):
                self.read()

    def test_an_error_on_the_way_is_raised_where_it_stands(self) -> None:
        told = b'{"error":{"code":"internal","status":500,"detail":"oh","hint":"look"}}\n'
        self.answer([chunks(RECORD, told)])
        reading = self.client.read("t")
        self.assertEqual(next(reading).value, 1)
        with self.assertRaisesRegex(landfall.Internal, r"oh; look \(internal, GET /v1/topics/t/"):
            next(reading)

    def test_a_gap_is_loud(self) -> None:
        gap = b'{"gap":{"stream":"o/t/0","from":7,"to":9,"why":"damaged segment"}}\n'
        self.answer([chunks(gap, END)])
        with self.assertWarnsRegex(landfall.GapWarning, "7 to 9 of o/t/0 are missing: damaged"):
            self.read()
        self.answer([chunks(gap, END)])
        gaps: List[landfall.Gap] = []
        list(self.client.read("t", on_gap=gaps.append))
        self.assertEqual(gaps, [landfall.Gap("o/t/0", 7, 9, "damaged segment")])

    def test_what_is_no_node_is_told(self) -> None:
        for bytes_ in (
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n" + END,
            HEAD + b"zz\r\n",
            chunks(b"oops\n"),
            chunks(b"[]\n"),
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno",
            HEAD[:-2] + b"X: " + b"x" * 3 * _wire.HEAD_BYTES_MAX + b"\r\n\r\n",
        ):
            self.answer([bytes_])
            with self.subTest(bytes_[:60]), self.assertRaises(landfall.NotUnderstood):
                self.read()

    def test_a_line_without_end_takes_no_more_memory_than_it_may(self) -> None:
        piece = b"x" * (64 << 10)
        self.answer([HEAD, *[b"10000\r\n" + piece + b"\r\n"] * 64])
        with self.assertRaisesRegex(landfall.NotUnderstood, "a line without end"):
            self.read()

    def test_a_problem_of_a_newer_node_is_still_one(self) -> None:
        body = b'{"code":"new_kind","status":418,"detail":"a teapot"}'
        self.answer([b"HTTP/1.1 418 X\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)])
        with self.assertRaises(landfall.Problem) as caught:
            self.read()
        self.assertEqual((caught.exception.code, caught.exception.status), ("new_kind", 418))

    def test_silence_breaks_a_connection_and_a_short_wait_does_not(self) -> None:
        silent = landfall.Client(socket=self.path, timeout=0.2, retry_for=0.0)
        self.answer([HEAD], keep_open=True)
        with self.assertRaisesRegex(landfall.Broken, "nothing came for 0.2 s"):
            list(silent.read("t"))
        event = b"id: 1-2-3-4\ndata: " + RECORD + b"\n"
        comment = b": nothing new\n\n"
        self.answer([chunks(comment, event)[:-5]], keep_open=True)
        with self.client.follow("t") as following:
            self.assertEqual([record.value for _, record in zip(range(1), following)], [1])
            self.assertIsNone(following.next(timeout=0.05))
            self.assertEqual(following.cursor, "1-2-3-4")


if __name__ == "__main__":
    unittest.main()
