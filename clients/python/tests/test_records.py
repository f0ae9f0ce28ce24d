"""What becomes of values, times and words on the way to the wire, without a node."""

from __future__ import annotations

import ast
import json
import unittest
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import List, Tuple, Union

import landfall
from landfall._append import PIECE_BYTES_MAX, PIECE_LINES_MAX, pieces
from landfall._records import body_of, milliseconds, record_of

TOLD = {
    "topic": "t", "origin": "o", "epoch": "1f", "partition": 0, "offset": 1, "lane": "normal",
    "seq": 2, "timestamp": "2022-01-03T00:00:00.250Z", "key": None, "value": 1, "headers": [],
}  # fmt: skip


class RecordsTest(unittest.TestCase):
    def body(self, record: landfall.NewRecord) -> object:
        return json.loads(body_of(record, in_group=record.topic is not None))

    def test_forms(self) -> None:
        new = landfall.NewRecord
        self.assertEqual(self.body(new({"a": [1.5, None]})), {"value": {"a": [1.5, None]}})
        self.assertEqual(self.body(new(None, key="k")), {"key": "k", "value": None})
        self.assertEqual(
            self.body(new(b"\xff", key=b"\0")),
            {"key": {"base64": "AA=="}, "value": {"base64": "/w=="}, "form": "bytes"},
        )
        self.assertEqual(self.body(new("$GP", form="text")), {"value": "$GP", "form": "text"})
        self.assertEqual(
            self.body(new.tombstone("k", topic="t", partition=3)),
            {"topic": "t", "partition": 3, "key": "k", "form": "tombstone"},
        )
        headers: List[Tuple[str, Union[str, bytes, None]]] = [("a", "x"), ("a", b"\xff"), ("b", None)]
        self.assertEqual(
            self.body(new(1, headers=headers, timestamp=5)),
            {"value": 1, "timestamp": 5, "headers": [
                {"name": "a", "value": "x"}, {"name": "a", "value": {"base64": "/w=="}},
                {"name": "b"}]},
        )  # fmt: skip

    def test_what_cannot_be_written_is_told_before_anything_is_sent(self) -> None:
        new = landfall.NewRecord
        for wrong in (
            new(float("nan")),
            new("\ud800"),
            new(1, form="tombstone", key="k"),
            new(None, form="tombstone"),
            new(1, form="text"),
            new(b"x", form="json"),
            new(1, form="xml"),
            new(1, timestamp=datetime(2022, 1, 3)),
        ):
            with self.subTest(wrong), self.assertRaises(ValueError):
                body_of(wrong, in_group=False)
        with self.assertRaisesRegex(ValueError, "go with `group`"):
            body_of(new(1, topic="t"), in_group=False)
        with self.assertRaisesRegex(ValueError, "needs its topic"):
            body_of(new(1), in_group=True)

    def test_times_are_exact_and_may_be_far_away(self) -> None:
        for ms in (0, -1, 1_641_168_000_250, -62_135_596_800_000, 253_402_300_799_999):
            time = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=ms)
            self.assertEqual(milliseconds(time), ms)
            text = time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03}Z"
            read = record_of({**TOLD, "timestamp": text.zfill(24)})
            self.assertEqual((read.timestamp_ms, read.timestamp), (ms, time))
        # Years that RFC 3339 has no signs for.
        far = record_of({**TOLD, "timestamp": "292278994-08-17T07:12:55.807Z"})
        self.assertEqual(far.timestamp_ms, (1 << 63) - 1)
        early = record_of({**TOLD, "timestamp": "-292275055-05-16T16:47:04.192Z"})
        self.assertEqual(early.timestamp_ms, -(1 << 63))
        with self.assertRaises(OverflowError):
            _ = far.timestamp

    def test_coordinates(self) -> None:
        for text in ("ship-17/ais/0@4711", "ship-17/ais/3@0~1f00ba5e"):
            self.assertEqual(str(landfall.Coordinates.parse(text)), text)
        for wrong in ("", "a/b@1", "a/b/0@", "a/b/x@1", "a/b/0@-1"):
            with self.assertRaises(ValueError):
                landfall.Coordinates.parse(wrong)

    def test_pieces_hold_every_line_once_and_are_bounded(self) -> None:
        lines = [b"%d" % number + b"x" * (number % 900) for number in range(20_000)]
        cut = list(pieces(iter(lines)))
        self.assertEqual(b"".join(piece.body for piece in cut).split(b"\n"), [*lines, b""])
        self.assertEqual(sum(piece.lines for piece in cut), len(lines))
        self.assertLessEqual(max(len(piece.body) for piece in cut), PIECE_BYTES_MAX + 1)
        self.assertLessEqual(max(piece.lines for piece in cut), PIECE_LINES_MAX)

    def test_literals(self) -> None:
        shown = [landfall.sql_literal(one) for one in (None, 7, 1.5, "it's", b"\xff", True)]
        self.assertEqual(shown, ["NULL", "7", "1.5", "'it''s'", "x'ff'", "1"])
        for wrong in (float("inf"), float("nan"), "a\0b"):
            with self.assertRaises(ValueError):
                landfall.sql_literal(wrong)

    def test_the_package_is_in_the_language_that_it_promises(self) -> None:
        folder = Path(landfall.__file__).parent
        self.assertTrue((folder / "py.typed").is_file(), "it is typed")
        for path in folder.glob("*.py"):
            ast.parse(path.read_text(), str(path), feature_version=(3, 9))


if __name__ == "__main__":
    unittest.main()
