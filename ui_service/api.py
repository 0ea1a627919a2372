"""The page's HTTP API, ``/api/v1``: convert, read or change, answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mentorgrad.errors import MentorgradError, PermissionDenied
from service_common.refusals import Strangers
from service_common.tokens import Scope
from ui_service import messages, positions, requests
from ui_service.actions import Actions
from ui_service.answers import ActionRefused, LoginRefused, json_response, sized
from ui_service.bodies import check_json, login_token
from ui_service.classifier import Classifier, Predicting
from ui_service.event_stream import EventStream, EventStreams
from ui_service.logins import LOGIN_SECONDS, Logins
from ui_service.page_token import PageTokens
from ui_service.reads import Reads

log = structlog.get_logger(__name__)


class Api:
    """The routes under ``/api/v1``.

    Args:
        reads: What is answered.
        streams: The open streams.
        logins: The sessions; None: no login is required.
        actions: Changes runs; None: the page is read-only.
        predicting: A classifier to try; None: there is none.
    """

    def __init__(
        self,
        reads: Reads,
        streams: EventStreams,
        logins: Logins | None,
        actions: Actions | None = None,
        predicting: Predicting | None = None,
    ) -> None:
        self._reads, self._streams, self._logins = reads, streams, logins
        self._actions, self._classifier = actions, Classifier(predicting)
        self._page_tokens = PageTokens()
        self._strangers = Strangers()

    def routes(self) -> list[Route]:
        """The routes."""
        reads = self._reads
        answers: dict[str, Callable[[Request], Awaitable[bytes]]] = {
            "/services": lambda _: reads.services(self._logins is not None),
            "/predictor": lambda _: self._classifier.info(),
            "/services/work": lambda _: reads.work(),
            "/runs": lambda asked: reads.runs(requests.of_runs(asked.query_params)),
            "/runs/{run_id}": lambda asked: reads.run(_run(asked)),
            "/runs/{run_id}/events": lambda asked: reads.events(
                _run(asked), requests.of_events(asked.query_params)
            ),
            "/runs/{run_id}/trajectory": lambda asked: reads.trajectory(
                _run(asked), requests.of_points(asked.query_params)
            ),
            "/runs/{run_id}/path": lambda asked: reads.path(_run(asked)),
            "/runs/{run_id}/artifacts": lambda asked: reads.artifacts(_run(asked)),
            "/compare": lambda asked: reads.compared(requests.of_compared(asked.query_params)),
            "/compare/groups": lambda asked: reads.grouped(requests.of_groups(asked.query_params)),
            "/experiments": lambda asked: reads.experiments(
                requests.of_experiments(asked.query_params)
            ),
            "/reports/{experiment_id}": lambda asked: reads.report(
                str(asked.path_params["experiment_id"]), requests.of_report(asked.query_params)
            ),
        }
        return [
            *(Route(path, self._answering(answer)) for path, answer in answers.items()),
            Route("/stream", self._stream),
            Route("/predictions", self._predict, methods=["POST"]),
            Route("/predictions/compared", self._compare, methods=["POST"]),
            Route("/session", self._session),
            Route("/actions", self._act, methods=["POST"]),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
        ]

    def _answering(
        self, answer: Callable[[Request], Awaitable[bytes]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            self._check(request, is_counted=True)
            return await sized(request, await answer(request))

        return endpoint

    async def _stream(self, request: Request) -> Any:
        self._check(request, is_counted=True)
        stated = positions.parse(request.query_params.getlist("run"))
        found = positions.resumed(stated, request.headers.get("last-event-id", ""))
        return EventStream(self._streams, found, lambda: self._check(request))

    async def _session(self, request: Request) -> Response:
        """What the visitor may do, and the token to do so with."""
        self._check(request, is_counted=True)
        token = self._page_tokens.of(_session_name(request))
        found = {"actions": True, "classifier": self._classifier.is_there, "token": token}
        try:
            self._permitted(request)
        except ActionRefused:
            found["actions"] = False
        return json_response(messages.encoded(found))

    async def _predict(self, request: Request) -> Response:
        self._check(request, is_counted=True)
        self._check_page(request)
        return json_response(await self._classifier.predict(request))

    async def _compare(self, request: Request) -> Response:
        self._check(request, is_counted=True)
        self._check_page(request)
        return await sized(request, await self._classifier.compare(request))

    async def _act(self, request: Request) -> Response:
        self._check(request, is_counted=True)
        actions = self._permitted(request)
        self._check_page(request)
        token = "" if self._logins is None else self._logins.token(_session_name(request))
        asked, results = await actions.perform(request, token)
        refused = [result for result in results if "error" in result]
        log.info("acted", action=asked.action, runs=len(results), refused=len(refused))
        return await sized(request, messages.encoded({"results": results}))

    def _check_page(self, request: Request) -> None:
        """Checks that it is the page that asks.

        Raises:
            ActionRefused: It is not.
        """
        try:
            self._page_tokens.check(request, _session_name(request))
        except PermissionDenied as error:
            raise ActionRefused(error) from None

    def _permitted(self, request: Request) -> Actions:
        """The actions, for a visitor who may change runs.

        Raises:
            ActionRefused: The page is read-only, or the visitor's token lacks the scope ``run``.
        """
        if self._actions is None:
            said = "this page is read-only; start it with --allow-actions to change runs"
            raise ActionRefused(PermissionDenied(said, reason="READ_ONLY"))
        if self._logins is not None:
            try:
                self._logins.check(_session_name(request)).require(Scope.RUN, "changing runs")
            except PermissionDenied as error:
                raise ActionRefused(error) from None
        return self._actions

    async def _login(self, request: Request) -> Response:
        if self._logins is None:
            return Response(status_code=204)
        token = await login_token(request)
        address = request.client.host if request.client is not None else ""
        try:
            name = self._logins.begin(token, address)
        except MentorgradError as error:
            if self._strangers.count(address):  # whoever tries often fills no log
                log.info("login_refused", address=address, reason=error.reason)
            raise LoginRefused(error) from None
        response = Response(status_code=204, headers={"cache-control": "no-store"})
        response.set_cookie(
            max_age=int(LOGIN_SECONDS), **_cookie(request), value=name, httponly=True
        )
        return response

    async def _logout(self, request: Request) -> Response:
        check_json(request)
        response = Response(status_code=204, headers={"cache-control": "no-store"})
        if self._logins is not None:
            self._logins.end(_session_name(request))
            response.delete_cookie(**_cookie(request), httponly=True)
        return response

    def _check(self, request: Request, is_counted: bool = False) -> None:
        """Checks the login of a request.

        Raises:
            LoginRefused: It has none, or makes too many requests.
        """
        if self._logins is None:
            return
        try:
            record = self._logins.check(_session_name(request))
            if is_counted:
                self._logins.count(record)
        except MentorgradError as error:
            raise LoginRefused(error) from None


def _run(request: Request) -> str:
    return str(request.path_params["run_id"])


def _session_name(request: Request) -> str:
    """The secret name of a visitor's session; empty: none is known."""
    return request.cookies.get(_cookie(request)["key"], "")


def _cookie(request: Request) -> dict[str, Any]:
    """Name and attributes of the cookie. Browsers accept `__Host-` over TLS alone."""
    secure = request.url.scheme == "https"
    name = "__Host-mentorgrad" if secure else "mentorgrad"
    return {"key": name, "path": "/", "secure": secure, "samesite": "strict"}
