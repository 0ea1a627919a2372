"""``GET /api/v1/openapi.json``: the page's API in OpenAPI 3.1, made from the table of its routes.

Paths, methods and path parameters are those of the routes; `route_meanings` adds what they mean.
"""

from __future__ import annotations

import functools
import gzip
from collections.abc import Iterable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mentorgrad.installed import OURS, installed_version
from mentorgrad.wire.json_schema import schemas_of
from ui_service import messages
from ui_service.descriptions import OBJECT, TEXT, Described, Parameter, fields, reference
from ui_service.route_meanings import DESCRIBED, DOCUMENT, ERROR, EXTENDED

_MESSAGES = (
    *("Agent", "Artifact", "CompareRunsResponse", "Experiment", "GetTrainerInfoResponse"),
    *("Run", "RunEvent", "Prediction", "PredictorInfo"),
)
"""Messages of the contract that are sent."""


def with_document(routes: Sequence[Route]) -> list[Route]:
    """Adds the route of the document that describes these routes, and itself.

    Args:
        routes: The routes of the API.
    """

    @functools.cache
    def content() -> tuple[bytes, bytes]:
        made = messages.encoded(document(found))
        return made, gzip.compress(made)

    async def endpoint(request: Request) -> Response:
        plain, small = content()
        headers = {"cache-control": "no-store", "vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            plain, headers["content-encoding"] = small, "gzip"
        return Response(plain, headers=headers, media_type="application/json")

    found = [*routes, Route(DOCUMENT, endpoint)]
    return found


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document; a route that nobody has described has its path only.

    Args:
        routes: The routes of the API.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for method in sorted((route.methods or set()) - {"HEAD"}):
            paths.setdefault(route.path, {})[method.lower()] = _operation(route, method)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "The page of mentorgrad",
            "version": installed_version(OURS) or "0",
            "description": "Serves the page, and may change with it; programs use the gRPC API. "
            "Messages are written as protobuf's JSON mapping has them: fields with their default "
            "are left out.",
        },
        "servers": [{"url": "/api/v1"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "mentorgrad"},
                "sessionOverTls": {"type": "apiKey", "in": "cookie", "name": "__Host-mentorgrad"},
            },
        },
        # None where the page requires no login.
        "security": [{}, {"session": []}, {"sessionOverTls": []}],
    }


def _schemas() -> dict[str, Any]:
    found = schemas_of(*_MESSAGES)
    extended = {
        name: fields(**further) | {"properties": found[message]["properties"] | further}
        for name, (message, further) in EXTENDED.items()
    }
    return found | extended | {"Error": ERROR}


def _operation(route: Route, method: str) -> dict[str, Any]:
    meant = DESCRIBED.get((method, route.path), Described(f"{method} {route.path}", {}))
    words = "".join(part if part.isalnum() else " " for part in route.path).split()
    given = [_path_parameter(name) for name in route.param_convertors]
    given += [_query_parameter(parameter) for parameter in meant.parameters]
    answer: dict[str, Any] = {"description": "No content."}
    if meant.answer is not None:
        answer = {"description": meant.summary, "content": {meant.media: {"schema": meant.answer}}}
    content = {"application/json": {"schema": meant.body or OBJECT}}
    return {
        "operationId": "_".join([method.lower(), *words]),
        "summary": meant.summary,
        "parameters": given,
        **({"requestBody": {"required": True, "content": content}} if method == "POST" else {}),
        "responses": {
            "204" if meant.answer is None else "200": answer,
            "default": {
                "description": "An error: 400, 401, 404, 405, 429, 500 or 503.",
                "content": {"application/json": {"schema": reference("Error")}},
            },
        },
    }


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": TEXT}


def _query_parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.meaning,
        "required": parameter.required,
        "schema": parameter.schema,
    }
