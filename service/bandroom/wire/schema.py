"""Writes docs/schemas/*.json and docs/asyncapi.yaml from the models, the topics and the table of rights.

python -m bandroom.wire.schema            writes them
python -m bandroom.wire.schema --check    exit code 1, naming each file that is missing, stale or surplus
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from bandroom.wire import messages as m
from bandroom.wire.ids import Role, RoomId, Subject, TenantId
from bandroom.wire.roles import MAY_PUBLISH, MAY_READ, Whose
from bandroom.wire.topics import SHAPES, Leaf

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS: Final = Path("docs")
PROTOCOL_VERSION: Final = "1"

_CLOCK_TEXT = "[!-~]{8} [0-9a-f]{2} "
_PLAIN: Final[dict[type[Any], dict[str, Any]]] = {
    m.ClockPing: {"type": "string", "pattern": f"^{_CLOCK_TEXT}0{{16}}$", "minLength": 28, "maxLength": 28},
    m.ClockReply: {"type": "string", "pattern": f"^{_CLOCK_TEXT}[0-9]{{16}}$", "minLength": 28, "maxLength": 28},
    m.Presence: {
        "type": "string",
        "pattern": "^(?:ready [0-9](?: [1-9][0-9]{0,6})?(?: [a-z]{1,10})?|(?:disconnected|lost) [0-9])$",
        "examples": ["ready 0", "ready 0 850", "ready 0 drums", "ready 0 850 drums", "lost 0"],
    },
    m.Assignment: {"type": "string", "pattern": f"^(?:-|{RoomId.pattern.pattern})?$"},
    m.Midi: {
        "type": "string",
        "description": "2 or 3 raw bytes, each shown as the character of that number",
        "pattern": "^(?:[\\x80-\\xbf\\xe0-\\xef][\\x00-\\x7f]{2}|[\\xc0-\\xdf][\\x00-\\x7f])$",
    },
}
"""Payloads that are no JSON: the text (or bytes) that they are."""


def _file_name(model: type[Any]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", model.__name__).lower() + ".json"


def payload_schema(model: type[Any]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one payload."""
    head: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    if model in _PLAIN:
        return head | {"title": model.__name__, "description": (model.__doc__ or "").strip()} | _PLAIN[model]
    return head | TypeAdapter(model).json_schema(mode="validation")


def _who(rights: dict[Role, Any], leaf: Leaf) -> list[str]:
    """The roles that have a right to this leaf; `own` behind those that have it for their own subject alone."""
    return [f"{role} (own)" if rights[role][leaf] is Whose.OWN else str(role) for role in Role if leaf in rights[role]]


def _address(leaf: Leaf) -> str:
    shape = SHAPES[leaf]
    base = "tenant/{tenant}/music_room/{room}/" if shape.in_room else "tenant/{tenant}/"
    return base + "/".join(shape.levels)


def _channel(leaf: Leaf) -> dict[str, Any]:
    address, model = _address(leaf), SHAPES[leaf].model
    names = re.findall(r"\{(\w+)\}", address)
    return {
        "address": address,
        "description": (model.__doc__ or "").strip(),
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in names},
        "messages": {model.__name__: {"$ref": f"#/components/messages/{model.__name__}"}},
    }


def _key(leaf: Leaf) -> str:
    first, *rest = leaf.value.split("/")
    return first + "".join(word.capitalize() for word in rest)


def _operation(leaf: Leaf, action: str, roles: list[str]) -> dict[str, Any]:
    shape = SHAPES[leaf]
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{_key(leaf)}"},
        "summary": ("published by " if action == "send" else "read by ") + ", ".join(roles),
        "bindings": {"mqtt": {"qos": shape.qos, "retain": shape.retain}},
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document: what clients other than the service's own send and receive."""
    operations: dict[str, Any] = {}
    for leaf in Leaf:
        key = _key(leaf)
        for action, rights in (("send", MAY_PUBLISH), ("receive", MAY_READ)):
            operations[action + key[0].upper() + key[1:]] = _operation(leaf, action, _who(dict(rights), leaf))
    operations = {name: one for name, one in operations.items() if not one["summary"].endswith(" by ")}
    models = {shape.model.__name__: shape.model for shape in SHAPES.values()}
    ids = {"tenant": TenantId, "room": RoomId, "sub": Subject}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "bandroom",
            "version": PROTOCOL_VERSION,
            "description": "A shared beat for a classroom of instruments, over MQTT. The rules: protocol.md.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {_key(leaf): _channel(leaf) for leaf in Leaf},
        "operations": operations,
        "components": {
            "parameters": {name: {"description": f"{kind.kind}: {kind.form}"} for name, kind in ids.items()},
            "messages": {
                name: {
                    "contentType": "application/json"
                    if model not in _PLAIN
                    else ("application/octet-stream" if model is m.Midi else "text/plain"),
                    "payload": {"$ref": f"./schemas/{_file_name(model)}"},
                }
                for name, model in models.items()
            },
        },
    }


def yaml(value: Any, indent: int = 0) -> Iterator[str]:
    """Lines of YAML for dicts of dicts and JSON scalars; strings are always quoted, lists stay on one line."""
    for key, inner in value.items():
        name = key if re.fullmatch(r"\w+", key) else json.dumps(key)
        if isinstance(inner, dict) and inner:
            yield f"{' ' * indent}{name}:"
            yield from yaml(inner, indent + 2)
        else:
            yield f"{' ' * indent}{name}: {json.dumps(inner, ensure_ascii=False)}"


def files() -> dict[Path, str]:
    """Every generated file, below the docs folder, with its text."""
    found = {
        Path("schemas") / _file_name(shape.model): json.dumps(payload_schema(shape.model), indent=2, ensure_ascii=False)
        + "\n"
        for shape in SHAPES.values()
    }
    head = "# Generated by `python -m bandroom.wire.schema`: do not edit.\n"
    found[Path("asyncapi.yaml")] = head + "\n".join(yaml(asyncapi())) + "\n"
    return found


def stale(docs: Path = DOCS) -> list[str]:
    """What is wrong with the generated files in `docs`, one line a file."""
    wanted = files()
    wrong: list[str] = []
    for path, text in wanted.items():
        if not (docs / path).exists():
            wrong.append(f"{docs / path} is missing")
        elif (docs / path).read_text() != text:
            wrong.append(f"{docs / path} is not up to date")
    surplus = {path.relative_to(docs) for path in (docs / "schemas").glob("*.json")} - set(wanted)
    return wrong + [f"{docs / path} belongs to no payload" for path in sorted(surplus)]


def main(arguments: list[str]) -> int:
    """The command line; the exit code."""
    if arguments == ["--check"]:
        wrong = stale()
        for line in wrong:
            print(f"{line}: run `python -m bandroom.wire.schema`", file=sys.stderr)
        return 1 if wrong else 0
    if arguments:
        print("usage: python -m bandroom.wire.schema [--check]", file=sys.stderr)
        return 2
    for path, text in files().items():
        (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
