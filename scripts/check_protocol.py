"""Holds docs/protocol.md to its tests: every rule has a test that carries its marker, every marker names a rule.

python scripts/check_protocol.py           exit code 1 and one line for each fault
python scripts/check_protocol.py --list    which tests show which rule
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
RULE = re.compile(r"^- \*\*([A-Z]+-[0-9]+)\*\* ", re.MULTILINE)


def rules() -> list[str]:
    """The ids of docs/protocol.md, in order."""
    return RULE.findall((ROOT / "docs" / "protocol.md").read_text(encoding="utf-8"))


def markers(path: Path) -> list[tuple[str, str]]:
    """(rule id, test) for each `@pytest.mark.rule("…")` in the file, and for `pytestmark` and `pytest.param` marks."""
    found: list[tuple[str, str]] = []
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    name = path.relative_to(ROOT).as_posix()

    def collect(node: ast.AST, owner: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            owner = f"{owner}::{node.name}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.rule":
            found.extend((str(arg.value), owner) for arg in node.args if isinstance(arg, ast.Constant))
        for child in ast.iter_child_nodes(node):
            collect(child, owner)

    collect(tree, name)
    return found


def main(arguments: list[str]) -> int:
    """The command line; the exit code."""
    known = rules()
    shown: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for rule, test in markers(path):
            shown[rule].append(test)
    if arguments == ["--list"]:
        for rule in known:
            print(rule, *(shown.get(rule) or ["-"]), sep="\n  ")
        return 0
    wrong = [f"{rule} stands twice in docs/protocol.md" for rule in sorted({r for r in known if known.count(r) > 1})]
    wrong += [f"{rule} has no test: mark one with @pytest.mark.rule({rule!r})" for rule in known if rule not in shown]
    wrong += [f"{test} names {rule}, which is no rule" for rule in shown if rule not in known for test in shown[rule]]
    for line in wrong or [f"{len(known)} rules, each with a test"]:
        print(line, file=sys.stderr if wrong else sys.stdout)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
