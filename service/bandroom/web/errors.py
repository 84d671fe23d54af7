"""Errors over HTTP: always ``{"err", "text"}``, one code for programs and one sentence for people."""

from __future__ import annotations

from typing import Any, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from bandroom.rooms.control import Refused
from bandroom.store import StoreError

log = structlog.stdlib.get_logger(__name__)

STATUS = {
    "bad_request": 422,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "closed": 409,
    "locked": 409,
    "too_late": 409,
    "conflict": 409,
    "limit": 409,
    "expired": 409,
    "unavailable": 503,
}
_OF_STATUS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    429: "limit",
}
_SHOWN = 60


class Problem(BaseModel):
    """What every error answers with."""

    err: str
    text: str


class ApiError(Exception):
    """An error with a status of its own."""

    def __init__(self, status: int, err: str, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.err = err
        self.text = text
        self.headers = headers


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documented errors of an operation."""
    return {status: {"model": Problem} for status in (400, 413, 422, 503, *statuses)}


def answer(status: int, err: str, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as a response."""
    return JSONResponse({"err": err, "text": text}, status, headers)


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` in the one form."""

    async def api_error(_: Request, error: Exception) -> JSONResponse:
        e = cast("ApiError", error)
        return answer(e.status, e.err, e.text, e.headers)

    async def refused(_: Request, error: Exception) -> JSONResponse:
        e = cast("Refused", error)
        return answer(STATUS[e.code], e.code, e.text)

    async def store_error(_: Request, error: Exception) -> JSONResponse:
        return answer(503, "unavailable", str(error))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        return answer(422, "bad_request", _explain(cast("RequestValidationError", error)))

    async def http(_: Request, error: Exception) -> JSONResponse:
        e = cast("HTTPException", error)
        headers = dict(e.headers) if e.headers else None
        return answer(e.status_code, _OF_STATUS.get(e.status_code, "bad_request"), str(e.detail), headers)

    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(StoreError, store_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def _explain(error: RequestValidationError) -> str:
    """The first thing that is wrong: where, what, and the value, shortened."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    shown = ascii(first.get("input"))
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
    return f"{place or 'body'}: {first['msg'].removeprefix('Value error, ')} (got {shown})"
