"""The run of a complete log, computed at once."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from mentorgrad.domain.event import RunEvent
from mentorgrad.domain.fold import fold_history, with_figures
from mentorgrad.domain.run import Run


def replay(run_id: str, events: Iterable[RunEvent]) -> Run:
    log = list(events)
    return with_figures(functools.reduce(fold_history, log, Run(run_id=run_id)), log)
