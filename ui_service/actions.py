"""Changes of runs that a visitor asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from starlette.requests import Request

from mentorgrad.domain.annotation import RunUpdate
from mentorgrad.domain.run import Run
from mentorgrad.errors import InvalidInput, MentorgradError, Violation
from mentorgrad.schema import Validated, bounded
from mentorgrad.serialization import from_dict
from ui_service import messages
from ui_service.bodies import json_body

MAX_RUNS = 200
"""Maximum number of runs of an action."""

_MAX_BODY_BYTES = 256 * 1024
_AT_ONCE = 8
"""Calls that all actions together make at a time."""


class RunControl(Protocol):
    """The changes of `mentorgrad.AsyncClient` that the page asks for.

    Every method raises `MentorgradError`, and returns the run as it is then.
    """

    async def cancel_run(self, run_id: str) -> Run:
        """Requests cancellation of a run."""
        ...

    async def finish_run(self, run_id: str) -> Run:
        """Requests that a running run ends early, with a result."""
        ...

    async def pause_run(self, run_id: str) -> Run:
        """Requests that a run saves a checkpoint and pauses."""
        ...

    async def resume_run(self, run_id: str) -> Run:
        """Queues a paused or interrupted run again."""
        ...

    async def update_run(
        self,
        run_id: str,
        labels: Mapping[str, str] | None = None,
        *,
        remove_labels: Sequence[str] = (),
        note: str | None = None,
    ) -> Run:
        """Edits the labels and the note of a run."""
        ...


Acting = Callable[[str], AbstractAsyncContextManager[RunControl]]
"""Opens the control of runs for a visitor's token; for the page itself if it is empty."""


class Action(StrEnum):
    """What may be asked for."""

    CANCEL = "cancel"
    FINISH = "finish"
    PAUSE = "pause"
    RESUME = "resume"
    UPDATE = "update"


@dataclass(frozen=True)
class ActionRequest(Validated):
    """What a visitor asks for."""

    action: Action
    """What is done."""
    run_ids: tuple[str, ...] = bounded((), required=True, max_length=MAX_RUNS)
    """The runs."""
    update: RunUpdate = field(default_factory=RunUpdate)
    """The changes of labels and note."""

    def cross_violations(self) -> Iterator[Violation]:
        """Checks that there are changes with the action `update`, and with no other."""
        if (self.action is Action.UPDATE) == (self.update == RunUpdate()):
            wanted = "be given with" if self.action is Action.UPDATE else "not be given without"
            yield Violation("update", f"must {wanted} the action update")


class Actions:
    """Changes runs for visitors. For one event loop.

    Args:
        acting: Opens the control of runs.
    """

    def __init__(self, acting: Acting) -> None:
        self._acting = acting
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def perform(self, request: Request, token: str) -> tuple[ActionRequest, list[Any]]:
        """Does what is asked for, with each run for itself.

        Args:
            request: Its body is an `ActionRequest` in JSON.
            token: The visitor's token for the trainer; empty: the page's own.

        Returns:
            The request, and a result per run, in JSON: `runId` and `run`, or `error`.

        Raises:
            InvalidInput: The body is not such a request.
        """
        body = await json_body(request, "action", _MAX_BODY_BYTES)
        if not isinstance(body, dict):
            raise InvalidInput.field("action", "must be a request in JSON")
        asked = from_dict(ActionRequest, body)
        async with self._acting(token) as control:
            each = (self._change(control, asked, run_id) for run_id in dict.fromkeys(asked.run_ids))
            return asked, await asyncio.gather(*each)

    async def _change(self, control: RunControl, asked: ActionRequest, run_id: str) -> Any:
        async with self._places:
            try:
                run = await _changed(control, asked, run_id)
            except MentorgradError as error:
                return {"runId": run_id} | messages.of_error(error)
            return {"runId": run_id, "run": messages.of_run(run)}


async def _changed(control: RunControl, asked: ActionRequest, run_id: str) -> Run:
    match asked.action:
        case Action.CANCEL:
            return await control.cancel_run(run_id)
        case Action.FINISH:
            return await control.finish_run(run_id)
        case Action.PAUSE:
            return await control.pause_run(run_id)
        case Action.RESUME:
            return await control.resume_run(run_id)
        case Action.UPDATE:
            edits = asked.update
            return await control.update_run(
                run_id, edits.labels, remove_labels=edits.remove_labels, note=edits.note
            )
