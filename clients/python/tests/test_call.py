"""Commands: each is given once, and its reply comes to who called."""

from __future__ import annotations

import threading
import unittest

import landfall
from support import NodeTest


class CallTest(NodeTest):
    def obey(self, commands: int) -> None:
        """Obeys so many commands, in another thread: what is `null` can't be obeyed."""
        words = ["on", "orders", "--reply", "replies", "--attempts", "1", "--max", str(commands)]
        script = 'read -r value; test "$value" != null && echo "[$value]"'
        given = [*words, "--", "sh", "-c", script]
        thread = threading.Thread(target=self.node.call, args=given)
        thread.start()
        self.addCleanup(thread.join)

    def test_a_command_is_given_once_and_its_reply_comes(self) -> None:
        with self.assertRaises(landfall.NoReply) as raised:
            self.client.call("orders", 7, reply="replies", key="k", headers={"a": "b"}, wait=0.1)
        call_id = raised.exception.call_id
        self.obey(3)
        for _ in range(2):
            replied = self.client.call("orders", 7, reply="replies", key="k", call_id=call_id)
            self.assertEqual((replied.value, replied.key), ([7], "k"))
        given = list(self.client.read("orders"))
        self.assertEqual(len(given), 1)
        self.assertEqual((given[0].header("a"), given[0].header("correlation")), ("b", call_id))
        with self.assertRaises(landfall.SetAside) as refused:
            self.client.call("orders", None, reply="replies")
        self.assertIn("exit code 1", str(refused.exception))
        with self.assertRaises(landfall.SetAside) as late:
            self.client.call("orders", 8, reply="replies", deadline=-1)
        self.assertIn("its deadline", str(late.exception.reply.header("error")))


if __name__ == "__main__":
    unittest.main()
