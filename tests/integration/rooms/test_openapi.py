"""The HTTP API holds to its own OpenAPI document, whatever is sent: schemathesis tries."""

from __future__ import annotations

import itertools
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_addresses = itertools.count()


def test_every_operation_answers_as_documented(stack: Any) -> None:
    """Good, bad and absurd requests: documented statuses, documented bodies, never a 5xx."""
    owner = {"Authorization": f"Bearer {stack.owner_token}"}
    with httpx.Client(base_url=stack.url, headers=owner) as http:
        http.post("/api/tenants", json={"tenant": "openapi"})
        http.post("/api/tenants/openapi/rooms", json={"code": "MUSIC-1234"})
    schema = schemathesis.openapi.from_url(f"{stack.url}/api/openapi.json")
    # Each rotation makes RSA keys, which takes long and proves nothing here.
    operations = [found.ok() for found in schema.exclude(path="/api/keys/rotate").get_all_operations()]
    assert len(operations) > 15
    # Bodies as they are described, and then others; wrong paths and bearers are tried by test_bad_input.
    modes = [(found, GenerationMode.POSITIVE) for found in operations]
    modes += [(found, GenerationMode.NEGATIVE) for found in operations if found.body]
    for operation, mode in modes:

        @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy(generation_mode=mode))
        def attempt(case: Any) -> None:
            # Else nearly all would end at an unknown tenant.
            for name, value in (("tenant", "openapi"), ("room", "MUSIC-1234")):
                if name in (case.path_parameters or {}):
                    case.path_parameters[name] = value
            address = f"198.18.{next(_addresses) % 250}.{next(_addresses) % 250}"
            case.call_and_validate(headers={**owner, "X-Forwarded-For": address}, checks=CHECKS)

        attempt()
