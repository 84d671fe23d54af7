"""The list of attacks is whole: every number from 1 to 69 has a test."""

from __future__ import annotations

import re
from pathlib import Path

LAST = 69


def test_every_case_has_a_test() -> None:
    """Each numbered attack is named by a test function, or is a key of a table that one runs through."""
    text = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    named = re.findall(r"def test_cases?_((?:\d\d_)+)(?!to_)", text)
    tables = re.findall(r'^    "(\d\d)": \[', text, re.M)
    found = {int(number) for name in named for number in name.strip("_").split("_")} | {int(n) for n in tables}
    assert sorted(set(range(1, LAST + 1)) - found) == []
