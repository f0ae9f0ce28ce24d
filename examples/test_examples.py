"""The examples are what their READMEs say: each is pasted into a shell, and prints what is there.

A block of `text` behind a block of `sh` is what that prints; `…` stands for anything.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import List, Tuple

EXAMPLES = Path(__file__).resolve().parent
PROGRAM = os.environ.get("LANDFALL_PROGRAM") or shutil.which("landfall") or ""
#: How long an example may take, in seconds.
PATIENCE = 120
#: The port that an example names; the test takes one that is free.
PORT = "4523"


def blocks(readme: str) -> List[Tuple[str, str]]:
    """What is pasted, each with what it prints."""
    found = re.findall(r"^```(sh|text)\n(.*?)^```", readme, re.S | re.M)
    pairs: List[Tuple[str, str]] = []
    for language, text in found:
        if language == "sh":
            pairs.append((text, ""))
        else:
            pairs[-1] = (pairs[-1][0], text)
    return pairs


class ExamplesTest(unittest.TestCase):
    def paste(self, example: str) -> None:
        """Pastes an example from the top of a copy of the repository."""
        with tempfile.TemporaryDirectory(prefix="lf-") as folder:
            top = Path(folder)
            for name in ("agent", "examples", "clients"):
                (top / name).symlink_to(EXAMPLES.parent / name)
            programs = top / "bin"
            programs.mkdir()
            (programs / "landfall").symlink_to(PROGRAM)
            # A link to Python would be another one than that of the environment with the client.
            python = programs / "python3"
            python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
            python.chmod(0o755)
            self.pasted(top, blocks((EXAMPLES / example / "README.md").read_text()))

    def pasted(self, top: Path, pairs: List[Tuple[str, str]]) -> None:
        self.assertGreater(len(pairs), 0)
        mark = "--- the next block ---"
        script = "set -euo pipefail\n" + "".join(f"{text}echo '{mark}'\n" for text, _ in pairs)
        names = {k: v for k, v in os.environ.items() if not k.startswith("LANDFALL_")}
        names["PATH"] = f"{top / 'bin'}:{names['PATH']}"
        # Into files: what an example leaves running would keep pipes open.
        with open(top / "out", "wb") as out_file, open(top / "err.log", "wb") as err_file:
            shell = subprocess.Popen(
                ["bash", "-c", script.replace(PORT, str(free_port()))],
                cwd=top,
                env=names,
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                # What an example leaves running when it fails is ended with its own group.
                start_new_session=True,
            )
            try:
                shell.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                pass  # Its code says that it was killed.
            finally:
                try:
                    os.killpg(shell.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # Nothing was left.
                shell.wait()
        out = (top / "out").read_text()
        logs = "".join(path.read_text() for path in top.glob("*.log"))
        self.assertEqual(shell.returncode, 0, f"{out}\n{logs}")
        printed = out.split(mark + "\n")
        for (text, wanted), found in zip(pairs, printed):
            pattern = ".*".join(map(re.escape, wanted.split("…")))
            self.assertRegex(found, f"^{pattern}$", f"printed by\n{text}")

    def test_latest_position(self) -> None:
        self.paste("latest-position")

    def test_vessels_per_degree(self) -> None:
        self.paste("vessels-per-degree")

    def test_speed_alarm(self) -> None:
        self.paste("speed-alarm")

    def test_logbook(self) -> None:
        self.paste("logbook")

    def test_every_example_is_run_here_and_listed(self) -> None:
        folders = {path.parent.name for path in EXAMPLES.glob("*/README.md")}
        tests = {name[5:].replace("_", "-") for name in dir(self) if name.startswith("test_")}
        self.assertEqual(folders - tests, set())
        listed = (EXAMPLES / "README.md").read_text()
        self.assertEqual([name for name in folders if f"({name}/README.md)" not in listed], [])


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


if __name__ == "__main__":
    unittest.main()
