"""Appending: what is answered is there, as it was given, and once."""

from __future__ import annotations

import os
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Iterator, List, Tuple, Union

import landfall
from landfall import Condition, NewRecord
from support import NodeTest

SETTINGS = """
create_topics = true
[[topic]]
name = "urgent"
lane = "urgent"
[[topic]]
name = "four"
partitions = 4
"""


class AppendingTest(NodeTest):
    SETTINGS = SETTINGS

    def values(self, topic: str) -> List[object]:
        return [record.value for record in self.client.read(topic)]

    def test_a_record_is_read_as_it_was_given(self) -> None:
        time = datetime(2022, 1, 3, 12, tzinfo=timezone.utc)
        headers: List[Tuple[str, Union[str, bytes, None]]] = [("unit", "kn"), ("raw", b"\xff"), ("none", None), ("unit", "m/s")]
        value = {"sog": 7.5, "name": "Ægir", "big": 1 << 60, "list": [None, True, ""]}
        receipt = self.client.append(self.topic, value, key="k", headers=headers, timestamp=time)
        self.client.append(self.topic, b"\0\xff", key=b"\xfe")
        self.client.append(self.topic, "$GPGGA", form="text")
        self.client.append(self.topic, None)
        self.client.delete(self.topic, "k", headers={"why": "gone"}, timestamp=-5)
        one, two, three, four, five = self.client.read(self.topic)
        self.assertEqual((one.value, one.key, one.timestamp), (value, "k", time))
        self.assertEqual([(header.name, header.value) for header in one.headers], headers)
        self.assertEqual((one.header("unit"), one.header("other")), ("m/s", None))
        self.assertEqual(receipt.spans, (landfall.Span(one.coordinates, 1),))
        self.assertEqual(receipt.position, str(one.coordinates))
        self.assertEqual((two.value, two.key, two.form), (b"\0\xff", b"\xfe", "bytes"))
        self.assertEqual((three.value, three.key, three.form), ("$GPGGA", None, "text"))
        self.assertEqual((four.value, four.is_tombstone), (None, False))
        self.assertEqual((five.key, five.is_tombstone, five.timestamp_ms), ("k", True, -5))
        self.assertEqual(five.header("why"), "gone")

    def test_many_are_taken_from_an_iterator_piece_by_piece(self) -> None:
        def records() -> Iterator[NewRecord]:
            for number in range(30_000):
                yield NewRecord({"n": number}, key=str(number % 7))

        receipt = self.client.append_many(self.topic, records())
        self.assertEqual((receipt.count, receipt.duplicates, len(receipt.spans)), (30_000, 0, 1))
        values = [{"n": number} for number in range(30_000)]
        self.assertEqual(self.values(self.topic), values)

    def test_a_producer_that_repeats_itself_writes_each_record_once(self) -> None:
        records = [NewRecord(number) for number in range(10)]
        first = self.client.append_many(self.topic, records[:6], producer="import")
        again = self.client.append_many(self.topic, records, producer="import")
        later = self.client.append_many(self.topic, [NewRecord(10)], producer="import",
                                        first_sequence=11)  # fmt: skip
        counts = [(receipt.count, receipt.duplicates) for receipt in (first, again, later)]
        self.assertEqual(counts, [(6, 0), (4, 6), (1, 0)])
        self.assertEqual(self.values(self.topic), list(range(11)))
        self.assertIsNotNone(again.position, "duplicates have a place, too")

    def test_partitions_are_chosen_by_key_or_by_hand(self) -> None:
        keys = [f"k{number}" for number in range(40)]
        receipt = self.client.append_many("four", (NewRecord(1, key=key) for key in keys))
        self.assertEqual({span.first.partition for span in receipt.spans}, {0, 1, 2, 3})
        self.client.append("four", 2, key="k1", partition=3)
        in_three = [record.value for record in self.client.read("four", partition=3)]
        self.assertEqual(in_three[-1], 2)
        # One place stands for all of them.
        rest = self.client.read("four", after=receipt.position)
        self.assertEqual([record.value for record in rest], [2])

    def test_lines_of_a_file_keep_every_byte_and_bad_ones_are_named(self) -> None:
        lines = ['{"mmsi": 338, "t": 1641168000, "x": 1.0}\n', "", '{"mmsi":"b","t":1}']
        path = Path(self.folder, "lines")
        path.write_text("\n".join(line.strip() for line in lines))
        with path.open("rb") as file:
            receipt = self.client.append_lines(self.topic, file, key_field="mmsi", time_field="t")
        self.assertEqual(receipt.count, 2)
        read = list(self.client.read(self.topic))
        self.assertEqual([record.key for record in read], ["338", "b"])
        self.assertEqual(read[0].timestamp_ms, 1_641_168_000_000)
        skipped = self.client.append_lines(self.topic, ["1", "oops", "2"], skip_bad=True)
        self.assertEqual((skipped.count, skipped.skipped), (2, 1))
        bad = ["1"] * 5_000 + ["oops", "2"]
        with self.assertRaises(landfall.BadLine) as caught:
            self.client.append_lines(self.topic, bad)
        self.assertEqual(caught.exception.line, 5_001, "of the whole input")
        self.assertIn("line 5001: not JSON", str(caught.exception))
        written = caught.exception.written
        self.assertEqual(written and written.count, 5_000)
        self.assertEqual(len(self.values(self.topic)), 2 + 2 + 5_000)

    def test_after_a_refusal_the_client_goes_on(self) -> None:
        with self.assertRaises(landfall.TooLarge) as caught:
            self.client.append(self.topic, "x" * 300_000)
        self.assertIn("longer than a record may be", str(caught.exception))
        for number in range(3):
            self.client.append(self.topic, number)
        self.assertEqual(self.values(self.topic), [0, 1, 2])

    def test_threads_share_a_client(self) -> None:
        def write(thread: int) -> None:
            for number in range(25):
                self.client.append(self.topic, [thread, number])

        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        values = self.values(self.topic)
        for thread_number in range(8):
            own = [value for value in values if isinstance(value, list) and value[0] == thread_number]
            self.assertEqual(own, [[thread_number, number] for number in range(25)])

    def test_a_forked_process_does_not_pass_for_its_parent(self) -> None:
        self.client.append(self.topic, "parent")
        child = os.fork()
        if child == 0:
            try:
                self.client.append(self.topic, "child")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        self.client.append(self.topic, "parent again")
        self.assertEqual(self.values(self.topic), ["parent", "child", "parent again"])

    def test_a_group_is_written_whole_or_not_at_all(self) -> None:
        other = self.topic + "-2"
        order = NewRecord({"state": "paid"}, key="o-1", topic=self.topic, headers={"by": "till"})
        payment = NewRecord.tombstone("p-7", topic=other, timestamp=7)
        none_yet = Condition(self.topic, key="o-1")
        receipt = self.client.group([order, payment], if_last=[none_yet])
        self.assertEqual((receipt.count, len(receipt.spans)), (2, 2))
        with self.assertRaises(landfall.Unmet) as caught:
            self.client.group([order, payment], if_last=[none_yet])
        self.assertIn("condition 1 does not hold", str(caught.exception))
        self.client.group([order], if_last=[Condition(self.topic, key="o-1", offset=0)])
        self.assertEqual(len(self.values(self.topic)), 2)
        (read,) = self.client.read(other)
        self.assertEqual((read.is_tombstone, read.timestamp_ms), (True, 7))
        several = [order, NewRecord(1, topic="urgent")]
        with self.assertRaises(landfall.Conflict):
            self.client.group(several)

    def test_a_group_with_a_key_is_written_once(self) -> None:
        group = [NewRecord(1, topic=self.topic), NewRecord(2, topic=self.topic)]
        first = self.client.group(group, idempotency_key="one")
        again = self.client.group(group, idempotency_key="one")
        self.assertEqual((first.count, again.count, again.duplicates), (2, 0, 2))
        self.assertIsNotNone(again.position)
        self.node.restart()
        self.assertEqual(self.client.group(group, idempotency_key="one").duplicates, 2)
        self.assertEqual(self.values(self.topic), [1, 2])
        self.assertEqual(self.client.group(group).count, 2, "without a key, it is another group")

    def test_what_is_refused_says_what_where_and_what_to_do(self) -> None:
        with self.assertRaises(landfall.Forbidden) as caught:
            self.client.append("_sites", 1)
        problem = caught.exception
        self.assertEqual((problem.code, problem.status), ("forbidden", 403))
        self.assertEqual(problem.hint, "use another name")
        self.assertIn("POST /v1/topics/_sites/records", problem.where)
        self.assertIn("belongs to the node", str(problem))
        with self.assertRaises(landfall.BadRequest):
            self.client.append("a b", 1)
