"""Real nodes for the tests, and connections that break when a test says so.

Everything is on this machine: Unix sockets, and loopback where TCP is tested. A node ends with the
test that started it, by its own process id.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import unittest.mock
from pathlib import Path
from typing import Callable, List, Optional

import landfall
from landfall import _events

#: The program; the task that runs the tests says where it is.
PROGRAM = os.environ.get("LANDFALL_PROGRAM") or shutil.which("landfall") or ""
#: How long anything may take that a test waits for.
PATIENCE = 60.0


def until(what: str, ask: Callable[[], bool]) -> None:
    """Asks again and again, for at most `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not ask():
        if time.monotonic() > end:
            raise AssertionError(f"waited {PATIENCE:g} s in vain: {what}")
        time.sleep(0.01)


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Node:
    """A node in a directory, and its process while there is one."""

    def __init__(self, path: Path, settings: str = "", words: Optional[List[str]] = None) -> None:
        self.path = path
        self._process: Optional[subprocess.Popen[bytes]] = None
        self.call("init", *(words or ["--site", path.name]))
        # What belongs to no section must stand first.
        config = path / "landfall.toml"
        config.write_text(config.read_text() + settings)

    def call(self, command: str, *words: str) -> str:
        """Runs a command of the program to its end."""
        line = [PROGRAM, command, "--data", str(self.path), *words]
        done = subprocess.run(line, capture_output=True, timeout=PATIENCE, env=environment())
        if done.returncode != 0:
            raise AssertionError(f"{line}: {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode()

    def start(self, wait: bool = True) -> None:
        """Starts it, and waits until it answers."""
        with open(self.path.with_suffix(".log"), "ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "run", "--data", str(self.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
            )
        if wait:
            self.client().wait_until_up(PATIENCE)

    def client(self, retry_for: float = 30.0) -> landfall.Client:
        """A client of its own."""
        return landfall.Client(self.path, retry_for=retry_for)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it, and waits until it has."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(PATIENCE)

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it, and starts it again."""
        self.stop(how)
        self.start()


def environment() -> "dict[str, str]":
    """The environment without what configures nodes."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LANDFALL_")}


class NodeTest(unittest.TestCase):
    """A test with a node that runs, one for all tests of the class."""

    SETTINGS = ""
    folder: Path
    node: Node

    @classmethod
    def setUpClass(cls) -> None:
        # Short, as a socket's path may have 107 bytes.
        made = tempfile.TemporaryDirectory(prefix="lf-")
        cls.addClassCleanup(made.cleanup)
        cls.folder = Path(made.name)
        cls.node = Node(cls.folder / "ship-17", cls.settings())
        cls.addClassCleanup(cls.node.stop)
        cls.node.start()

    @classmethod
    def settings(cls) -> str:
        """What stands in the node's configuration."""
        return cls.SETTINGS

    def setUp(self) -> None:
        self.client = self.node.client()
        #: A topic of the test's own.
        self.topic = self._testMethodName[:120]

    def breaks_often(self) -> None:
        """For tests in which connections break: tries again at once, and says nothing of it."""
        quiet = unittest.mock.patch.object(_events.log, "disabled", True)
        quick = unittest.mock.patch.object(_events, "PAUSE_MAX", 0.05)
        for change in (quiet, quick):
            change.start()
            self.addCleanup(change.stop)


class Door:
    """A way to a node's socket that can be cut: a socket of its own, whose connections are passed
    on. `cut_after` is how many bytes of the answers to the next connections pass, `None` for all;
    each connection takes one."""

    def __init__(self, node: Node, path: Path) -> None:
        self.path, self._to = path, str(node.path / "landfall.sock")
        self.cut_after: List[Optional[int]] = []
        self.connections = 0
        self._open: List[socket.socket] = []
        self._passing: List[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Cuts all connections that there are."""
        for one in list(self._open):
            shut(one)

    def close(self) -> None:
        """Ends it."""
        shut(self._listener)
        self.cut()
        for thread in [self._thread, *self._passing]:
            thread.join(PATIENCE)
        self._listener.close()
        self.path.unlink()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            there = socket.socket(socket.AF_UNIX)
            try:
                there.connect(self._to)
            except OSError:
                here.close()
                continue
            limit = self.cut_after.pop(0) if self.cut_after else None
            passing = threading.Thread(target=self._pass, args=(here, there, limit), daemon=True)
            self._passing.append(passing)
            passing.start()

    def _pass(self, here: socket.socket, there: socket.socket, limit: Optional[int]) -> None:
        with here, there:
            self._open += [here, there]
            request = threading.Thread(target=_pass_on, args=(here, there, None), daemon=True)
            request.start()
            _pass_on(there, here, limit)
            shut(here)
            shut(there)
            request.join(PATIENCE)
            self._open.remove(here)
            self._open.remove(there)


def _pass_on(source: socket.socket, to: socket.socket, limit: Optional[int]) -> None:
    left = limit
    try:
        while True:
            piece = source.recv(64 << 10)
            if not piece:
                break
            if left is not None:
                piece, left = piece[:left], left - len(piece)
            to.sendall(piece)
            if left is not None and left <= 0:
                break
    except OSError:
        pass  # The other end is gone.


def shut(one: socket.socket) -> None:
    """Wakes whoever waits for it."""
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # It is not connected any more.
