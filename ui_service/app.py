"""The page as an ASGI application."""

from __future__ import annotations

from collections.abc import Collection
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp

from mentorgrad.errors import MentorgradError
from ui_service.answers import LoginRefused, failed, refused, unknown
from ui_service.api import Api
from ui_service.openapi import with_document
from ui_service.page_files import PageFiles
from ui_service.protection import Protection

API = "/api/v1"


def built_page() -> Traversable:
    """The folder of the built page in this package; it may be missing."""
    return files("ui_service") / "static"


def application(api: Api, pages: PageFiles, listen: str, hosts: Collection[str] = ()) -> ASGIApp:
    """The page.

    Args:
        api: What it reads from.
        pages: Its own files.
        listen: Listen address.
        hosts: Host names by which it may be reached, beside localhost and IP addresses.
    """

    async def page(request: Request) -> Response:
        return pages.response(request.url.path, request.headers)

    async def no_path(request: Request) -> Response:
        return await unknown(request, HTTPException(404))

    app = Starlette(
        routes=[
            Mount(API, app=Router(with_document(api.routes()), redirect_slashes=False)),
            Route("/api/{rest:path}", no_path),
            Route("/{path:path}", page),
        ],
        exception_handlers={
            MentorgradError: refused,
            LoginRefused: refused,
            HTTPException: unknown,
            Exception: failed,
        },
    )
    app.router.redirect_slashes = False  # a redirect repeats the host name of the request
    return Protection(app, listen, hosts)
