"""What the README shows is what happens."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path
from typing import List

from support import NodeTest

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> List[str]:
    """The blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.S | re.M)


class ReadmeTest(NodeTest):
    @classmethod
    def settings(cls) -> str:
        (settings,) = blocks("toml")
        return settings

    def test_its_examples_run_one_after_the_other(self) -> None:
        # In the README, the node's directory is `ship-17`.
        before = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)
        names: "dict[str, object]" = {}
        examples = blocks("python")
        self.assertGreater(len(examples), 4)
        for number, example in enumerate(examples, 1):
            with self.subTest(number=number):
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    exec(compile(example, f"README.md, example {number}", "exec"), names)
                for wanted in re.findall(r"^ *print\(.*\)  # (.*)$", example, re.M):
                    pattern = ".*".join(map(re.escape, wanted.split("…")))
                    found = [line for line in printed.getvalue().splitlines() if line]
                    told = [line for line in found if re.match(pattern, line)]
                    self.assertTrue(told, f"{wanted!r} is not in {found}")
