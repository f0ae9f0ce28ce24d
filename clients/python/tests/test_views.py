"""Asking the views: what was written is there, and another answer comes when it changes."""

from __future__ import annotations

from pathlib import Path

import landfall
from landfall import NewRecord
from support import Door, NodeTest

SETTINGS = """
[view.latest.latest]
topic = "ais"
key = "mmsi"
columns = { sog = "$.sog", name = "$.name" }
"""


class ViewsTest(NodeTest):
    SETTINGS = SETTINGS

    def setUp(self) -> None:
        super().setUp()
        self.breaks_often()

    def count(self, where: str, min_position: landfall.Receipt) -> object:
        sql = f"SELECT count(*) FROM latest WHERE {where}"
        rows = self.client.query(sql, min_position=min_position)
        return rows.rows[0][0]

    def test_what_was_just_written_is_there(self) -> None:
        for number in range(20):
            mmsi = f"own-{number}"
            receipt = self.client.append("ais", {"sog": number}, key=mmsi)
            self.assertEqual(self.count(f"mmsi = '{mmsi}'", min_position=receipt), 1)
        gone = self.client.delete("ais", "own-3")
        self.assertEqual(self.count("mmsi LIKE 'own-%'", min_position=gone), 19)
        with self.assertRaises(landfall.NotYet):
            self.client.query("SELECT * FROM latest", min_position="ship-17/ais/0@99999", wait=0.05)

    def test_rows_have_names_and_values_are_quoted(self) -> None:
        name = "O'Brien; DROP"
        receipt = self.client.append("ais", {"name": name, "sog": 1.5}, key="q")
        sql = f"SELECT mmsi, sog, x'ff' AS b, NULL AS n FROM latest WHERE name = {landfall.sql_literal(name)}"
        rows = self.client.query(sql, min_position=receipt)
        self.assertEqual(rows.columns, ("mmsi", "sog", "b", "n"))
        self.assertEqual(rows.rows, [("q", 1.5, b"\xff", None)])
        self.assertEqual(rows.dicts()[0]["sog"], 1.5)
        self.assertFalse(rows.truncated)
        self.assertTrue(self.client.query("SELECT 1 UNION SELECT 2", max_rows=1).truncated)

    def test_a_wrong_question_says_where(self) -> None:
        with self.assertRaises(landfall.BadRequest) as caught:
            self.client.query("SELECT nothing FROM latest")
        self.assertIn("nothing", caught.exception.detail)
        forever = "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a) SELECT count(*) FROM a"
        with self.assertRaises(landfall.TooLong):
            self.client.query(forever, max_time=0.1)

    def test_views_tell_how_far_they_are_and_that_they_are_right(self) -> None:
        receipt = self.client.append("ais", {"sog": 1}, key="v")
        self.count("1", min_position=receipt)
        (view,) = self.client.views()
        self.assertEqual((view.view, view.topics, view.state), ("latest", ["ais"], "running"))
        self.assertGreater(view.records, 0)
        verdict = self.client.verify_view("latest")
        self.assertTrue(verdict.is_same, verdict)
        with self.assertRaises(landfall.NotFound):
            self.client.verify_view("other")

    def test_another_answer_comes_when_the_rows_change_also_after_breaks(self) -> None:
        door = Door(self.node, Path(self.folder, "d1"))
        self.addCleanup(door.close)
        sql = "SELECT count(*) FROM latest WHERE mmsi LIKE 'live-%'"
        live = landfall.Client(socket=door.path).live(sql)
        first = live.next(timeout=30)
        self.assertEqual(first and first.rows, [(0,)])
        for number in range(1, 6):
            # The same answer is not given again by a new connection.
            door.cut()
            self.client.append("ais", {"sog": 1}, key=f"live-{number}")
            rows = live.next(timeout=30)
            self.assertEqual(rows and rows.rows, [(number,)])
        self.client.append("ais", {"sog": 2}, key="live-1")
        self.assertIsNone(live.next(timeout=0.3), "the answer is the same")
        self.client.append_many("ais", (NewRecord({}, key=f"live-{n}") for n in range(1_000)))
        while rows is not None and rows.rows != [(1_000,)]:
            rows = live.next(timeout=30)
        self.assertIsNotNone(rows, "the last answer is never missed")
        live.close()

    def test_a_large_answer_comes_whole(self) -> None:
        numbers = "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a LIMIT 40000)"
        sql = numbers + " SELECT n, printf('%0100d', n) FROM a"
        rows = self.client.query(sql, max_rows=100_000, max_time=60)
        self.assertEqual((len(rows.rows), rows.rows[-1][0]), (40_000, 40_000))
        with self.client.live(sql, max_rows=100_000, max_time=60) as live:
            again = live.next(timeout=60)
        self.assertEqual(again, rows)
