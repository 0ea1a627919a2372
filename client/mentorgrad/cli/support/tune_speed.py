"""Measures how fast the trainer's machine passes rows of the table through the model: a run of a
few steps, of which the last ones are timed."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mentorgrad.domain.event import Segment, StageStarted
from mentorgrad.domain.spec import DataFiles, RunSpec
from mentorgrad.errors import MentorgradError
from mentorgrad.serialization import from_dict, merged, to_dict
from mentorgrad.tables import SplitSizes, Table
from mentorgrad.tune.plan import (
    CAUSAL_PROMPT,
    LABEL_PROMPT,
    PROMPT_TUNING,
    Machine,
    TableFacts,
    longest_input,
    step_tokens,
)

if TYPE_CHECKING:
    from mentorgrad.client import Client

LEAST_MINUTES = 2.0
"""Time for everything below which measuring would take too much of it."""

SHARE = 0.15
"""Share of the time that measuring may take."""

_TIMED = {LABEL_PROMPT: PROMPT_TUNING, PROMPT_TUNING: PROMPT_TUNING, CAUSAL_PROMPT: CAUSAL_PROMPT}
"""Objective of a plan → that of the run that is timed, whose steps pass rows through the model."""
_SELECTION = 4
"""Selection rows, if there are not more labels."""


def measured(
    client: Client,
    table: Table,
    facts: TableFacts,
    machine: Machine,
    fields: Mapping[str, Any],
    give: Callable[[Table], DataFiles],
    limit: float,
) -> float | None:
    """Tokens that pass through the run's model in a second.

    Args:
        client: Of the trainer.
        table: The table; a sample of its rows is passed.
        facts: What is known of it.
        machine: The trainer's machine.
        fields: Fields of the planned run.
        give: Gives data to the trainer.
        limit: Seconds after which it is given up.

    Returns:
        None if it cannot be measured: the run fails or takes too long, or its objective takes no
        steps.
    """
    ((planned, own),) = fields["objective"].items()
    objective = _TIMED.get(planned)
    if objective is None:
        return None
    batch, steps = (32, 10) if machine.is_gpu else (8, 3)
    classes = facts.classes
    rows = table.sample(SplitSizes(max(2 * batch, classes), max(_SELECTION, classes), classes))
    if planned == LABEL_PROMPT:
        encoder = {"encoder": own["encoder"]} if "encoder" in own else {}
        own = {"max_length": longest_input(facts), **encoder}
    timed = {
        "objective": {objective: dict(own)},
        "task": {**fields["task"], "data": to_dict(give(rows)), "selection_rows": 1, "shots": 0},
        "stages": {"count": 3, "steps": steps, "first_steps": 1, "candidates": 1},
        "optimizer": {"batch_size": batch},
        "name": "speed of a tune",
    }
    spec = from_dict(RunSpec, merged(RunSpec, {}, timed))
    try:
        seconds = _seconds(client, spec, limit)
    except MentorgradError:  # the planned run will say what is wrong
        return None
    return steps * step_tokens(objective, facts, batch) / seconds if seconds else None


def _seconds(client: Client, spec: RunSpec, limit: float) -> float | None:
    """Seconds of the steps of a run's second stage; the first one is to warm up."""
    run_id = client.create_run(spec, f"speed-{uuid.uuid4().hex}").run.run_id

    def cancel() -> None:
        with contextlib.suppress(MentorgradError):  # it has ended
            client.cancel_run(run_id)

    patience = threading.Timer(limit, cancel)
    patience.start()
    begun: datetime | None = None
    seconds, steps = None, spec.stages.steps
    try:
        for event in client.watch(run_id):
            payload = event.payload
            if isinstance(payload, StageStarted) and payload.stage == 1:
                begun = event.time
            elif begun and isinstance(payload, Segment) and payload.step_end == 1 + steps:
                seconds = (event.time - begun).total_seconds()
                cancel()
    finally:
        patience.cancel()
        cancel()
        with contextlib.suppress(MentorgradError):
            client.delete_run(run_id)
    return seconds
