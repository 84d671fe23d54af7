"""The pages and what they load: plain files, served with headers that let nothing else run in them."""

from __future__ import annotations

import gzip
import io
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import segno
from fastapi import APIRouter, Body, HTTPException, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from bandroom.web.deps import Site
from bandroom.web.origins import host_known

STATIC = Path(__file__).parent / "static"
MQTT_JS = STATIC / "vendor" / "mqtt.esm.js"

router = APIRouter(include_in_schema=False)
_files = StaticFiles(directory=STATIC)

# A Host header goes into the policy below, so only what can be a host and port is let in.
_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PACKED = frozenset({".js", ".css", ".svg"})
_NO_MQTT_JS = (
    "This installation lacks mqtt.js, the part of the pages that speaks MQTT.\n"
    "Bring it with `python hatch_build.py` in the source tree, or install bandroom again.\n"
)
_STRANGE_NAME = (
    "This band room does not know itself by the name in the address.\n"
    "Open {} instead. If the name is right, whoever runs the band room sets it: bandroom up --public-url <address>\n"
)
_LINK = re.compile(r"https?://[^\s\x00-\x1f]{1,400}", re.ASCII)


HSTS_S = 30 * 24 * 3600


def security_headers(host: str | None, *, is_https: bool = False) -> dict[str, str]:
    """Headers of every page. Older Safari does not count WebSockets to the same host as 'self': they are named.

    ``is_https``: browsers come by https, and are to do so from now on, on this name and none beside it.
    """
    sockets = ""
    if host and _HOST.fullmatch(host):
        sockets = f" wss://{host}" if is_https else f" ws://{host} wss://{host}"
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
        f"connect-src 'self'{sockets}; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    strict = {"Strict-Transport-Security": f"max-age={HSTS_S}"} if is_https else {}
    return {
        **strict,
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        # The address after '#' is never sent; without a referrer not even the path leaves the page.
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=(), midi=(self)",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        # A file is asked for again and answered with 304: after an update no page runs with old modules.
        "Cache-Control": "no-cache",
    }


def _headers(request: Request) -> dict[str, str]:
    site: Site = request.app.state.site
    # Where plain http is served beside https, on another port, its pages must go on working by it.
    return security_headers(request.headers.get("host"), is_https=site.is_https and request.url.scheme == "https")


def _page(request: Request, name: str) -> Response:
    headers, public_url = _headers(request), request.app.state.site.state.public_url
    if not host_known(request.headers.get("host"), public_url):
        return PlainTextResponse(_STRANGE_NAME.format(public_url), status_code=421, headers=headers)
    if not MQTT_JS.is_file():
        return PlainTextResponse(_NO_MQTT_JS, status_code=503, headers=headers)
    return FileResponse(STATIC / name, media_type="text/html; charset=utf-8", headers=headers)


@router.api_route("/", methods=["GET", "HEAD"])
async def home(request: Request) -> Response:
    """What this is, and the form to join a room."""
    return _page(request, "index.html")


@router.api_route("/join", methods=["GET", "HEAD"])
async def join(request: Request) -> Response:
    """The same document: the tenant, code and key behind '#' never reach the server by this way."""
    return _page(request, "index.html")


@router.api_route("/teacher", methods=["GET", "HEAD"])
async def teacher(request: Request) -> Response:
    """The same document again: rooms and their transport for the holder of a teacher's token, which it never sees."""
    return _page(request, "index.html")


@router.api_route("/screen", methods=["GET", "HEAD"])
async def screen(request: Request) -> Response:
    """And again: what hangs on the wall. Its token stands behind '#', too."""
    return _page(request, "index.html")


@router.api_route("/static/{path:path}", methods=["GET", "HEAD"])
async def static(request: Request, path: str) -> Response:
    """Scripts, styles and pictures."""
    response = await _files.get_response(path, request.scope)
    if isinstance(response, FileResponse) and "gzip" in request.headers.get("accept-encoding", ""):
        response = await _packed(response)
    response.headers.update(_headers(request))
    return response


async def _packed(response: FileResponse) -> Response:
    """The same file, compressed: a class that opens the page at once shares one WiFi."""
    file = Path(response.path)
    if file.suffix not in _PACKED:
        return response
    etag = response.headers["etag"]
    data = await run_in_threadpool(_gzip, file, etag)
    kept = {name: response.headers[name] for name in ("etag", "last-modified", "content-type")}
    return Response(data, headers={**kept, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"})


@lru_cache(maxsize=64)
def _gzip(file: Path, etag: str) -> bytes:
    """Kept for each state of a file, which ``etag`` tells apart. The folder bounds how many there are."""
    return gzip.compress(file.read_bytes(), 9, mtime=0)


@router.post("/qr")
async def qr(link: Annotated[str, Body(embed=True, max_length=400)]) -> Response:
    """A QR code of ``link`` as SVG, for the teacher's screen. In the body, as a join link holds a key."""
    if _LINK.fullmatch(link) is None:
        raise HTTPException(422, "link: an http or https address is wanted")
    picture = io.BytesIO()
    segno.make(link, error="m").save(picture, kind="svg", scale=8, border=4, dark="#000", light="#fff")
    return Response(picture.getvalue(), media_type="image/svg+xml", headers=security_headers(None))
