"""The web application: the API, the tunnel to the broker, and the pages."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from bandroom.web import api, pages, tunnel
from bandroom.web.body import BodyLimit
from bandroom.web.deps import Site
from bandroom.web.errors import install
from bandroom.web.origins import ProxyNotice
from bandroom.web.tunnel import Tunnel
from bandroom.wire.messages import Command


def create_app(site: Site) -> FastAPI:
    """The application of one installation."""
    app = FastAPI(
        title="bandroom",
        description="A shared beat for a classroom of instruments: rooms, joining, devices.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        generate_unique_id_function=_operation_id,
    )
    app.state.site = site
    app.state.tunnel = site.tunnel = Tunnel(
        lambda: (_reachable(site.state.mqtt.host), site.state.mqtt.port), site.state.public_url
    )
    install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(ProxyNotice)
    app.include_router(api.router)
    app.include_router(tunnel.router)
    app.include_router(pages.router)
    app.openapi = lambda: _openapi(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the commands' schema taken from the messages themselves."""
    if not app.openapi_schema:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schema = Command.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name, definition in schema.pop("$defs", {}).items():
            # Over HTTP the id may be left out.
            if "required" in definition:
                definition["required"] = [field for field in definition["required"] if field != "id"]
            schemas[name] = definition
        schemas["Command"] = schema
        app.openapi_schema = document
    return app.openapi_schema
