"""Reading and following: everything that is there, in order, and what comes, once."""

from __future__ import annotations

import signal
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import List

import landfall
from landfall import NewRecord
from support import Door, NodeTest, until


def numbers(client: landfall.Client, topic: str, first: int, count: int) -> landfall.Receipt:
    """Appends numbers, each a minute later than the one before."""
    records = (NewRecord(n, key=str(n % 3), timestamp=n * 60_000) for n in range(first, first + count))
    return client.append_many(topic, records)


class ReadingTest(NodeTest):
    def test_a_reader_begins_where_it_wants(self) -> None:
        numbers(self.client, self.topic, 0, 10)
        all_ = list(self.client.read(self.topic))
        sixth = all_[6]
        time_ = datetime(1970, 1, 1, 0, 6, tzinfo=timezone.utc)
        for start in ("@6", f"seq:{sixth.seq}", sixth.coordinates, str(sixth.coordinates), time_):
            with self.subTest(start=start):
                read = [record.value for record in self.client.read(self.topic, start=start)]
                self.assertEqual(read, [6, 7, 8, 9])
        self.assertEqual(list(self.client.read(self.topic, start="latest")), [])
        self.assertEqual(list(self.client.read(self.topic, origin="ship-18")), [])
        self.assertEqual(len(list(self.client.read(self.topic, origin="ship-17"))), 10)

    def test_a_reader_goes_on_by_its_cursor(self) -> None:
        numbers(self.client, self.topic, 0, 10)
        with self.client.read(self.topic, max_records=4) as first:
            self.assertEqual([record.value for record in first], [0, 1, 2, 3])
        rest = self.client.read(self.topic, after=first.cursor)
        self.assertEqual([record.value for record in rest], [4, 5, 6, 7, 8, 9])
        with self.assertRaises(landfall.Gone):
            self.client.read(self.topic, after="8-1-1-1")
        with self.assertRaises(ValueError):
            self.client.read(self.topic, after="8-1-1-1", start="@1")

    def test_a_reader_waits_for_what_was_written(self) -> None:
        receipt = self.client.append(self.topic, 1)
        (read,) = self.client.read(self.topic, min_position=receipt)
        first = read.coordinates
        far = landfall.Coordinates(first.origin, first.topic, 0, 1)
        with self.assertRaises(landfall.NotYet):
            self.client.read(self.topic, min_position=far, wait=0.05)
        later = threading.Timer(0.2, lambda: self.client.append(self.topic, 2) and None)
        later.start()
        read_far = self.client.read(self.topic, min_position=str(far), wait=30)
        self.assertEqual([record.value for record in read_far], [1, 2])
        later.join()

    def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(self) -> None:
        numbers(self.client, self.topic, 0, 2_000)
        door = Door(self.node, Path(self.folder, "d1"))
        self.addCleanup(door.close)
        door.cut_after = [100_000]
        read: List[object] = []
        with self.assertRaisesRegex(landfall.Broken, "broke off: the node closed it"):
            for record in landfall.Client(socket=door.path).read(self.topic):
                read.append(record.value)
        self.assertEqual(read, list(range(len(read))))
        self.assertGreater(len(read), 100)


class FollowingTest(NodeTest):
    def setUp(self) -> None:
        super().setUp()
        self.breaks_often()

    def test_what_is_there_comes_first_and_then_what_comes(self) -> None:
        numbers(self.client, self.topic, 0, 3)
        with self.client.follow(self.topic) as following:
            values = [record.value for _, record in zip(range(3), following)]
            self.assertEqual(values, [0, 1, 2])
            self.assertIsNone(following.next(timeout=0.05))
            numbers(self.client, self.topic, 3, 1)
            record = following.next(timeout=30)
            self.assertEqual(record and record.value, 3)
        again = self.client.follow(self.topic, after=following.cursor)
        numbers(self.client, self.topic, 4, 1)
        record = again.next(timeout=30)
        self.assertEqual(record and record.value, 4)
        again.close()

    def test_nothing_is_lost_and_nothing_twice_wherever_connections_break(self) -> None:
        """Cuts the answers after all kinds of lengths, also within heads, chunks and events."""
        count = 400
        door = Door(self.node, Path(self.folder, "d2"))
        self.addCleanup(door.close)
        door.cut_after = [*range(0, 900, 31), *range(5_000, 30_000, 1_700)]
        cuts = len(door.cut_after)
        writer = threading.Thread(
            target=lambda: [numbers(self.client, self.topic, n, 40) for n in range(0, count, 40)]
        )
        following = landfall.Client(socket=door.path).follow(self.topic, start="@0")
        writer.start()
        values = [record.value for _, record in zip(range(count), following)]
        writer.join()
        self.assertEqual(values, list(range(count)))
        # The last connections may hold all that is left.
        self.assertGreater(door.connections, cuts // 2)
        self.assertIsNone(following.next(timeout=0.2))
        following.close()

    def test_a_follower_survives_restarts_of_the_node(self) -> None:
        following = self.client.follow(self.topic, start="latest")
        read: List[object] = []
        for number, how in enumerate([signal.SIGKILL, signal.SIGTERM, signal.SIGKILL]):
            numbers(self.client, self.topic, number * 5, 5)
            record = following.next(timeout=30)
            read.append(record and record.value)
            self.node.restart(how)
        while len(read) < 15:
            record = following.next(timeout=30)
            self.assertIsNotNone(record, f"after {read}")
            read.append(record and record.value)
        self.assertEqual(read, list(range(15)))
        following.close()

    def test_from_the_latest_on_nothing_is_missed_if_the_first_connection_breaks(self) -> None:
        numbers(self.client, self.topic, 0, 2)
        door = Door(self.node, Path(self.folder, "d3"))
        self.addCleanup(door.close)
        following = landfall.Client(socket=door.path).follow(self.topic, start="latest")
        door.cut_after = [0, 0]
        numbers(self.client, self.topic, 2, 2)
        self.assertEqual([record.value for _, record in zip(range(2), following)], [2, 3])
        following.close()

    def test_a_filter_holds_also_after_a_break(self) -> None:
        """A record that is older than where the follower began stays out."""
        start = datetime(1970, 1, 1, 1, tzinfo=timezone.utc)
        numbers(self.client, self.topic, 60, 1)
        door = Door(self.node, Path(self.folder, "d4"))
        self.addCleanup(door.close)
        following = landfall.Client(socket=door.path).follow(self.topic, start=start)
        self.assertEqual([record.value for _, record in zip(range(1), following)], [60])
        door.cut()
        numbers(self.client, self.topic, 0, 1)
        numbers(self.client, self.topic, 61, 1)
        self.assertEqual([record.value for _, record in zip(range(1), following)], [61])
        following.close()

    def test_a_follower_is_ended_by_another_thread(self) -> None:
        following = self.client.follow(self.topic)
        ended: List[bool] = []

        def listen() -> None:
            ended.append(list(following) == [])

        thread = threading.Thread(target=listen)
        thread.start()
        until("it listens", lambda: following._answer is not None)
        following.close()
        thread.join(30)
        self.assertEqual(ended, [True])

    def test_a_follower_that_no_node_answers_gives_up_when_it_is_to(self) -> None:
        nobody = landfall.Client(socket=Path(self.folder, "nobody"))
        begun = time.monotonic()
        with self.assertRaisesRegex(landfall.Unreachable, "no node answers at"):
            next(iter(nobody.follow(self.topic, retry_for=0.2)))
        self.assertLess(time.monotonic() - begun, 30)
        self.assertIsNone(nobody.follow(self.topic).next(timeout=0.2))

    def test_a_problem_ends_it(self) -> None:
        with self.assertRaises(landfall.Gone):
            next(iter(self.client.follow(self.topic, after="8-1-1-1")))
        with self.assertRaises(landfall.BadRequest):
            next(iter(self.client.follow(self.topic, start="soon")))
