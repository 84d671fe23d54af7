"""A school for each test in the shared stack, and helpers to lead a lesson in it."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from bandroom.clock import ServerClock

_numbers = itertools.count(1)


@dataclass
class School:
    """A tenant of a running stack, led over HTTP by the machine's owner."""

    stack: Any
    tenant: str

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer's JSON; anything but success fails the test."""
        headers = {"Authorization": f"Bearer {self.stack.owner_token}"}
        answer = httpx.request(method, f"{self.stack.url}{path}", json=body, headers=headers, timeout=20)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def room(self, **options: Any) -> str:
        """A new room, running unless told otherwise; its code, which is its id as well."""
        made = self.ask("POST", f"/api/tenants/{self.tenant}/rooms", {"bpm": 120, "start": True, **options})
        return str(made["room"])

    def command(self, room: str, cmd: str, **more: Any) -> Any:
        """A teacher's command."""
        return self.ask("POST", f"/api/tenants/{self.tenant}/rooms/{room}/commands", {"cmd": cmd, **more})

    def enroll(self, sub: str) -> dict[str, Any]:
        """A device's credential."""
        enrolled: dict[str, Any] = self.ask("POST", f"/api/tenants/{self.tenant}/devices", {"sub": sub})
        return enrolled

    def assign(self, room: str, sub: str) -> None:
        """Bring a device into a room."""
        self.command(room, "assign_device", device=sub)

    @property
    def clock(self) -> ServerClock:
        """True server time."""
        return ServerClock.from_file(self.stack.home.gate_clock)


def found(stack: Any) -> School:
    """A new school."""
    school = School(stack, f"dev{next(_numbers)}-{uuid.uuid4().hex[:8]}")
    school.ask("POST", "/api/tenants", {"tenant": school.tenant})
    return school


@pytest.fixture
def school(stack: Any) -> School:
    """A school of one's own in the shared stack: leave its processes alone."""
    return found(stack)


@pytest.fixture
def own_school(start_stack: Callable[..., Any], home: Any) -> School:
    """A school on a stack of the test's own, whose parts may be killed."""
    return found(start_stack(home))
