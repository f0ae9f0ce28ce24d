"""Once: whatever is killed or cut between sending and the answer, each record is there once.

`LANDFALL_KILLS` says how many clients are killed; there are fewer in CI than before a release.
"""

from __future__ import annotations

import os
import random
import signal
import time
import unittest
from collections import Counter
from pathlib import Path
from typing import Callable, List, Optional

import landfall
from landfall import NewRecord, _wire
from support import Door, NodeTest

KILLS = int(os.environ.get("LANDFALL_KILLS", "60"))
#: Every so many kills of a client, the node is killed or stopped as well.
RESTART_EVERY = 12


class LostAnswersTest(NodeTest):
    """A client that lives sends again by itself what it had no answer to."""

    def setUp(self) -> None:
        super().setUp()
        self.breaks_often()

    def door(self, name: str, cut_after: List[Optional[int]]) -> landfall.Client:
        self.way = Door(self.node, Path(self.folder, name))
        self.addCleanup(self.way.close)
        self.way.cut_after = cut_after
        return landfall.Client(socket=self.way.path)

    def test_an_append_whose_answer_is_lost_is_written_once(self) -> None:
        # Nothing of the answer, a part of its head, its head, and a part of its body.
        client = self.door("d1", [0, 20, 0, 150, 200, 0, 0, 0, 0, 190])
        receipts = [client.append(self.topic, number) for number in range(12)]
        self.assertEqual([record.value for record in self.client.read(self.topic)], list(range(12)))
        self.assertTrue(any(receipt.duplicates for receipt in receipts))
        self.assertTrue(all(receipt.position for receipt in receipts), "there is always a place")

    def test_many_records_are_written_once_and_counted_once(self) -> None:
        # A part of the receipts comes with the first try, and the rest is known to be there.
        client = self.door("d2", [350, None, 600, None, 0, 300, None, 450])
        receipt = client.append_many(self.topic, (NewRecord(number) for number in range(20_000)))
        values = [record.value for record in self.client.read(self.topic)]
        self.assertEqual(values, list(range(20_000)))
        self.assertEqual(receipt.count + receipt.duplicates, 20_000)
        self.assertTrue(receipt.count and receipt.duplicates, receipt)

    def test_a_group_whose_answer_is_lost_is_written_once(self) -> None:
        client = self.door("d3", [0, 40, 0])
        other = self.topic + "-2"
        group = [NewRecord(1, topic=self.topic), NewRecord(2, topic=other)]
        condition = landfall.Condition(self.topic)
        receipt = client.group(group, if_last=[condition])
        self.assertEqual(receipt.duplicates, 2)
        self.assertEqual([record.value for record in self.client.read(self.topic)], [1])
        self.assertEqual([record.value for record in self.client.read(other)], [2])

    def test_when_no_answer_comes_at_all_that_is_what_is_said(self) -> None:
        client = self.door("d4", [0] * 1_000)
        client._retry_for = 0.3
        with self.assertRaises(landfall.OutcomeUnknown) as caught:
            client.append(self.topic, 1)
        unknown = caught.exception
        again = self.client.append_many(
            self.topic, [NewRecord(1)], producer=unknown.producer, first_sequence=unknown.sequence or 0
        )
        self.assertEqual((again.count, again.duplicates), (0, 1))
        with self.assertRaises(landfall.OutcomeUnknown) as caught:
            client.group([NewRecord(2, topic=self.topic)])
        key = caught.exception.idempotency_key
        self.client.group([NewRecord(2, topic=self.topic)], idempotency_key=key)
        # It does not go on under a name whose last outcome is unknown.
        self.way.cut_after.clear()
        self.assertEqual(client.append(self.topic, 3).count, 1)
        self.assertEqual([record.value for record in self.client.read(self.topic)], [1, 2, 3])


def killed_after_sending(act: Callable[[], object], sends: int, when: float) -> None:
    """A process of its own that sends, and is killed before it reads the answer.

    Of its request, `sends` bytes leave; all, if that is below zero. It is killed `when` seconds
    after that.
    """
    tell, told = os.pipe()[::-1]
    child = os.fork()
    if child == 0:
        os.close(told)

        def sent(_: object) -> None:
            os.write(tell, b"x")
            signal.pause()

        def part(request: _wire.Request, token: object) -> bytes:
            whole = original(request, None)
            if 0 <= sends:
                request.body = (request.body or b"")[: max(0, sends - len(whole))]
                return whole[:sends]
            return whole

        original = _wire.Request.head
        _wire.Request.head = part  # type: ignore[assignment, method-assign]
        _wire.Answer.take_head = sent  # type: ignore[assignment, method-assign]
        try:
            act()
        finally:
            os._exit(1)
    os.close(tell)
    try:
        if os.read(told, 1) != b"x":
            raise AssertionError("the client ended before it had sent")
        time.sleep(when)
    finally:
        os.close(told)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


class KilledClientsTest(NodeTest):
    def test_a_client_killed_before_the_answer_has_written_each_record_once(self) -> None:
        seed = int(os.environ.get("LANDFALL_SEED", random.SystemRandom().getrandbits(32)))
        chance = random.Random(seed)
        seen: Counter[str] = Counter()
        for number in range(KILLS):
            with self.subTest(seed=seed, number=number):
                self.one(number, chance, seen)
        self.client.append("appends", "end", key="end")
        for topic in ("appends", "groups-1", "groups-2"):
            values = [record.value for record in self.client.read(topic)]
            wanted = [n for n in range(KILLS) if topic == "appends" or n % 2]
            self.assertEqual(values, wanted + ["end"] * (topic == "appends"), f"{topic}, seed {seed}")
        print(f"{KILLS} clients killed, seed {seed}: {dict(seen)}")
        # It was tried on both sides of the node's commit.
        self.assertGreater(seen["written by the repetition"], 0)
        self.assertGreater(seen["written by the killed client"], 0)
        self.assertEqual(seen["restarts of the node"], KILLS // RESTART_EVERY)

    def one(self, number: int, chance: random.Random, seen: "Counter[str]") -> None:
        """A client is killed, perhaps the node as well, and the next client does the same again."""

        def append(client: landfall.Client) -> landfall.Receipt:
            record = [NewRecord(number, key=str(number))]
            return client.append_many("appends", record, producer="app", first_sequence=number + 1)

        def group(client: landfall.Client) -> landfall.Receipt:
            records = [NewRecord(number, topic=f"groups-{one}") for one in (1, 2)]
            return client.group(records, idempotency_key=f"group-{number}")

        acts = [append, group] if number % 2 else [append]
        # Mostly all is sent. Else, any part of it.
        sends = -1 if chance.random() < 0.7 else chance.randrange(400)
        when = chance.choice([0.0, 0.0, 0.002, 0.01])
        for act in acts:
            # A connection of the killed client may still be answered.
            killed_after_sending(lambda act=act: act(self.node.client()), sends, when)  # type: ignore[misc]
        if number % RESTART_EVERY == RESTART_EVERY - 1:
            self.node.restart(chance.choice([signal.SIGKILL, signal.SIGTERM]))
            seen["restarts of the node"] += 1
        for act in acts:
            receipt = act(self.node.client())
            what = "repetition" if receipt.count else "killed client"
            seen[f"written by the {what}"] += 1
            self.assertEqual(receipt.count + receipt.duplicates, 1 + (act is group))


if __name__ == "__main__":
    unittest.main()
