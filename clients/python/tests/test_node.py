"""The node itself, over TCP too: status, health, tokens, and nodes that are away."""

from __future__ import annotations

import os
import threading
import time
import unittest.mock
from pathlib import Path

import landfall
from support import Node, NodeTest, free_port

ADDRESS = f"127.0.0.1:{free_port()}"
SETTINGS = f"""
[api]
tcp = "{ADDRESS}"
[[topic]]
name = "course"
writers = ["navigator"]
"""


class NodeItselfTest(NodeTest):
    @classmethod
    def settings(cls) -> str:
        token = Path(cls.folder, "nav.token")
        return SETTINGS + f'[[application]]\nname = "navigator"\ntoken_file = "{token}"\n'

    def test_status_and_health(self) -> None:
        self.client.append(self.topic, 1)
        status = self.client.status()
        self.assertEqual((status.site, status.link), ("ship-17", None))
        lanes = {lane.name: lane for lane in status.lanes}
        self.assertGreater(lanes["normal"].next_seq, 0)
        self.assertGreaterEqual(status.streams.records, 1)
        self.assertTrue(self.client.health().healthy)
        self.assertIn("landfall_", self.client.metrics())
        self.assertIn("/v1/groups", self.client.openapi()["paths"])

    def test_every_path_of_the_document_has_a_call(self) -> None:
        known = {
            "/v1/topics/{topic}/records", "/v1/groups", "/v1/query", "/v1/views",
            "/v1/views/{view}/verify", "/v1/views/{view}/at", "/v1/trace", "/v1/status", "/v1/health", "/v1/metrics",
            "/v1/openapi.json", "/v1/sites", "/v1/sites/{site}/revoke",
            "/v1/sites/{site}/split", "/v1/sites/{site}/rights", "/v1/tokens", "/v1/consumers",
            "/v1/consumers/{consumer}", "/v1/consumers/{consumer}/commit",
            "/v1/consumers/{consumer}/fetch", "/v1/consumers/{consumer}/leave",
            "/v1/consumers/{consumer}/seek",
        }  # fmt: skip
        self.assertEqual(known - set(self.client.openapi()["paths"]), set())

    def test_every_error_of_the_document_has_an_exception(self) -> None:
        schemas = self.client.openapi()["components"]["schemas"]
        codes = set(schemas["Problem"]["properties"]["code"]["enum"])
        kinds = {kind.code for kind in landfall.Problem.__subclasses__()}
        self.assertEqual(codes, kinds)

    def test_over_tcp_a_token_is_needed(self) -> None:
        token_file = self.node.path / "api.token"
        node = landfall.Client(address=ADDRESS, token_file=token_file)
        node.append(self.topic, {"over": "tcp"})
        self.assertEqual([record.value for record in node.read(self.topic)], [{"over": "tcp"}])
        for wrong in (None, "x" * 20):
            with self.assertRaises(landfall.Unauthorized):
                landfall.Client(address=ADDRESS, token=wrong).status()

    def test_writers_are_told_by_their_token(self) -> None:
        with self.assertRaises(landfall.Forbidden) as caught:
            self.client.append("course", 1)
        self.assertIn("its writers are navigator", str(caught.exception))
        navigator = landfall.Client(self.node.path, token_file=Path(self.folder, "nav.token"))
        self.assertEqual(navigator.append("course", 2).count, 1)
        with self.assertRaises(landfall.Forbidden):
            navigator.sites()

    def test_a_hub_enrols_revokes_and_splits(self) -> None:
        hub = Node(
            Path(self.folder, "hub"), "", ["--site", "hub", "--listen", f"127.0.0.1:{free_port()}"]
        )
        hub.start()
        self.addCleanup(hub.stop)
        client = hub.client()
        rights = {"write": ["a-*"], "subscribe": ["for-{site}"]}
        token = client.create_token("ship-1", uses=2, valid_for_s=60, **rights)
        self.assertEqual((token.site, token.uses), ("ship-1", 2))
        self.assertGreater(token.expires_ms, time.time() * 1_000)
        down = '[[topic]]\nname = "for-ship-1"\nreplicate = "down"\n'
        ship = Node(Path(self.folder, "ship-1"), down, ["--join", token.token])
        client.append("for-ship-1", "turn")
        ship.start()
        self.addCleanup(ship.stop)
        with ship.client().follow("for-ship-1") as orders:
            order = orders.next(timeout=60)
            assert order is not None
            self.assertEqual((order.value, order.origin), ("turn", "hub"))
        told = [(one.topic, one.why) for one in ship.client().status().subscriptions]
        self.assertEqual(told, [("for-ship-1", None)])
        rights_now = client.set_rights("ship-1", carry=["buoy-*"])
        self.assertEqual(rights_now, "ship-1 may write a-*; carry buoy-*; have come down for-{site}")
        ship.client().append("a-1", 1)
        with client.follow("a-1") as following:
            record = following.next(timeout=60)
        self.assertEqual(record and record.origin, "ship-1")
        self.assertEqual([site.site for site in client.sites()], ["ship-1"])
        self.assertEqual(client.split_site("ship-1").site, "ship-1-2")
        self.assertIn("ship-1", client.revoke_site("ship-1"))
        with self.assertRaises(landfall.UnknownSite):
            client.revoke_site("ship-9")

    def test_a_node_that_comes_is_waited_for_and_one_that_does_not_is_told(self) -> None:
        away = Node(Path(self.folder, "away"))
        self.addCleanup(away.stop)
        begun = time.monotonic()
        with self.assertRaisesRegex(landfall.Unreachable, "no node answers at .*away/landfall.sock"):
            away.client(retry_for=0.2).append("a", 1)
        self.assertGreaterEqual(time.monotonic() - begun, 0.2)
        starts = threading.Timer(0.2, lambda: away.start(wait=False))
        starts.start()
        self.assertEqual(away.client(retry_for=60).append("a", 1).count, 1)
        starts.join()

    def test_the_environment_names_the_node(self) -> None:
        with unittest.mock.patch.dict(os.environ, {"LANDFALL_DATA": str(self.node.path)}):
            self.assertEqual(landfall.Client().status().site, "ship-17")
        with unittest.mock.patch.dict(os.environ, {"LANDFALL_DATA": ""}):
            with self.assertRaisesRegex(ValueError, "which node"):
                landfall.Client()
        with self.assertRaisesRegex(ValueError, "is no address"):
            landfall.Client(address="localhost")
