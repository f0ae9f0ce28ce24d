"""Consumers: each record is taken in once, whoever is killed when."""

from __future__ import annotations

import logging
import os
import random
import signal
import time
import unittest
from collections import defaultdict
from typing import Callable, Dict, List

import landfall
from landfall import NewRecord
from support import Node, NodeTest, until

#: Records that members share, and the keys that they have by turns.
RECORDS, KEYS = 3_000, 30
#: Records of which one member dies with a part.
MORE = 300
#: Members at a time.
MEMBERS = 3


class ConsumingTest(NodeTest):
    def test_a_consumer_goes_on_where_it_was(self) -> None:
        self.client.append_many(self.topic, (NewRecord(number) for number in range(10)))
        name = self.topic[-60:]
        with self.client.consumer(name, [self.topic]) as consumer:
            batch = consumer.fetch(max_records=4)
            assert batch is not None
            self.assertEqual([record.value for record in batch], [0, 1, 2, 3])
            consumer.commit(batch)
            self.assertIsNotNone(consumer.fetch(max_records=4))
        with self.client.consumer(name, [self.topic]) as consumer:
            batch = consumer.fetch()
            assert batch is not None
            self.assertEqual([record.value for record in batch], [4, 5, 6, 7, 8, 9])
            consumer.give_back()
            again = consumer.fetch()
            assert again is not None
            self.assertEqual(again.records, batch.records)
            consumer.commit(again)
            self.assertIsNone(consumer.fetch(wait=0))
        told = [one for one in self.client.consumers() if one.consumer == name]
        self.assertEqual((told[0].behind_records, told[0].members), (0, []))
        self.client.seek_consumer(name, "@7")
        with self.client.consumer(name, [self.topic]) as consumer:
            batch = consumer.fetch()
            assert batch is not None
            self.assertEqual([record.value for record in batch], [7, 8, 9])
        self.client.drop_consumer(name)
        with self.assertRaises(landfall.NotFound):
            self.client.drop_consumer(name)

    def test_what_is_written_for_a_batch_is_written_once(self) -> None:
        self.client.append(self.topic, 1)
        out = self.topic + "-out"
        consumer = self.client.consumer("once", [self.topic])
        batch = consumer.fetch()
        assert batch is not None
        self.assertEqual(consumer.commit(batch, [NewRecord(2, topic=out)]).count, 1)
        # As if its answer had been lost, and the node been started again.
        self.node.restart(signal.SIGKILL)
        self.assertEqual(consumer.commit(batch, [NewRecord(2, topic=out)]).duplicates, 1)
        with self.assertRaises(landfall.Conflict):
            consumer.commit(batch)
        self.assertIsNone(consumer.fetch(wait=0))
        self.assertEqual([record.value for record in self.client.read(out)], [2])
        self.client.seek_consumer("once", "earliest")
        consumer.give_back()
        batch = consumer.fetch()
        assert batch is not None
        self.assertEqual(consumer.commit(batch, [NewRecord(3, topic=out)]).count, 1)
        self.assertEqual([record.value for record in self.client.read(out)], [2, 3])

    def test_what_could_not_be_dealt_with_is_set_aside_and_retried(self) -> None:
        headers: list[tuple[str, str | bytes | None]] = [("unit", "kn"), ("raw", b"\xff")]
        values = [1, "two", b"\x00\xff", None]
        records = [NewRecord(one, key="k", headers=headers, timestamp=1_000) for one in values]
        self.client.append_many(self.topic, [*records, NewRecord.tombstone("k")])
        consumer = self.client.consumer("careful", [self.topic])
        batch = consumer.fetch()
        assert batch is not None
        consumer.commit(batch, dead=[(record, f"what is {record.form}?") for record in batch])
        self.assertIsNone(consumer.fetch(wait=0))
        listed = self.node.call("dead", "list", self.topic)
        self.assertEqual(listed.count("careful:ship-17/"), 5, listed)
        self.assertIn("what is tombstone?", listed)
        names = [line.split()[0] for line in listed.splitlines()[1:]]
        shown = self.node.call("dead", "show", names[0])
        self.assertIn('"dead-consumer"', shown)
        self.node.call("dead", "drop", names[1])
        self.node.call("dead", "retry", "--all", self.topic)
        self.assertIn("no dead letters", self.node.call("dead", "list", self.topic))
        with self.assertRaises(AssertionError):
            self.node.call("dead", "retry", names[0])
        again = consumer.fetch()
        assert again is not None
        wanted = [one for at, one in enumerate(batch) if at != 1]

        def told(one: landfall.Record) -> object:
            return (one.value, one.form, one.key, one.headers)

        self.assertEqual([told(one) for one in again], [told(one) for one in wanted])
        self.assertEqual(again.records[0].timestamp_ms, 1_000)


def child(act: Callable[[], None]) -> int:
    """A process of its own. Its id."""
    process = os.fork()
    if process:
        return process
    logging.disable()
    try:
        act()
    finally:
        os._exit(1)


def take_in(node: Node) -> None:
    """Takes in what it is given, and writes what it took in."""
    consumer = node.client().consumer("shared", ["source"])
    while True:
        batch = consumer.fetch(max_records=10)
        if batch is None:
            continue
        taken = [NewRecord(one.value, key=one.key, topic="out") for one in batch]
        time.sleep(0.002)
        try:
            consumer.commit(batch, taken)
        except landfall.Conflict:
            continue


def hold(node: Node, tell: int) -> None:
    """Takes what it is given, tells so, and does nothing more."""
    consumer = node.client().consumer("shared", ["source"], member="holder")
    while consumer.fetch(wait=1) is None:
        pass
    os.write(tell, b"x")
    signal.pause()


class KilledMembersTest(NodeTest):
    def test_members_and_the_node_are_killed_and_each_record_is_taken_in_once_in_order(self) -> None:
        seed = int(os.environ.get("LANDFALL_SEED", random.SystemRandom().getrandbits(32)))
        chance = random.Random(seed)
        members = [child(lambda: take_in(self.node)) for _ in range(MEMBERS)]

        def end_all() -> None:
            for one in members:
                kill(one)

        self.addCleanup(end_all)
        self.append(0, RECORDS)
        for kills in range(6):
            self.wait_for(RECORDS * (kills + 1) // 8)
            time.sleep(chance.random() / 50)
            if kills == 3:
                self.node.restart(signal.SIGKILL)
                continue
            kill(members.pop(chance.randrange(len(members))))
            members.append(child(lambda: take_in(self.node)))
        self.wait_for(RECORDS)
        told, tell = os.pipe()
        holder = child(lambda: hold(self.node, tell))
        until("the holder has keys", lambda: self.slots("holder") == 64 // (MEMBERS + 1))
        self.append(RECORDS, RECORDS + MORE)
        self.assertEqual(os.read(told, 1), b"x")
        kill(holder)
        died = time.monotonic()
        self.wait_for(RECORDS + MORE)
        took = time.monotonic() - died
        self.assertTrue(0.5 < took < 10, f"a dead member's share is taken over after {took:.1f} s")
        by_key: Dict[str, List[int]] = defaultdict(list)
        for record in self.client.read("out"):
            by_key[str(record.key)].append(record.value)
        for key in range(KEYS):
            expected = list(range(key, RECORDS + MORE, KEYS))
            self.assertEqual(by_key[str(key)], expected, f"key {key}, seed {seed}")
        self.assertEqual(self.client.consumers()[0].behind_records, 0)
        print(f"6 members and a node killed, the last share done after {took:.1f} s, seed {seed}")

    def append(self, start: int, end: int) -> None:
        numbers = range(start, end)
        self.client.append_many("source", (NewRecord(n, key=str(n % KEYS)) for n in numbers))

    def wait_for(self, records: int) -> None:
        def taken() -> int:
            # The members need the machine, too.
            time.sleep(0.05)
            return sum(1 for _ in self.client.read("out"))

        until(f"{records} records are taken in", lambda: taken() >= records)

    def slots(self, member: str) -> int:
        members = self.client.consumers()[0].members
        return sum(one.slots for one in members if one.member == member)


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


if __name__ == "__main__":
    unittest.main()
