"""The reports of experiments for all tabs: the trainer computes one again only when it must."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from mentorgrad.domain.experiment import Experiment, ExperimentProgress, ExperimentState
from mentorgrad.reports.view import as_json, report_view
from ui_service import messages
from ui_service.shared_reads import SharedReads
from ui_service.trainer import Trainer

MOST_KEPT = 16
"""Reports that are kept."""
_REST = 9.0
"""A report of a running experiment is left alone for so many times as long as it took: all tabs
together take at most a tenth of the time of one report after another."""

Mark = tuple[ExperimentState, ExperimentProgress]
"""A report is of other runs when this has changed."""


@dataclass(frozen=True)
class _Kept:
    mark: Mark
    json: bytes
    version: str
    rests_until: float
    """On the clock, seconds."""


KeptReport = tuple[bytes, _Kept]
"""An experiment as JSON, and its report."""


class ExperimentReports:
    """Reads reports for all tabs. For one event loop.

    Args:
        trainer: Where the experiments are recorded.
        clock: Seconds, never going back.
        shared: Answers tabs that ask at the same time.
    """

    def __init__(
        self,
        trainer: Trainer,
        clock: Callable[[], float] = time.monotonic,
        shared: SharedReads[KeptReport] | None = None,
    ) -> None:
        self._trainer, self._clock = trainer, clock
        self._shared = shared or SharedReads()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def read(self, experiment_id: str, version: str = "") -> bytes:
        """An experiment, and the view of a report on its runs so far, as JSON.

        Of a running experiment the report may be a little older than the progress.

        Args:
            experiment_id: The experiment.
            version: Version of the report that the tab has; that one is not sent again.

        Raises:
            MentorgradError: The trainer does not answer, or has no such experiment.
        """
        experiment, kept = await self._shared.get(experiment_id, lambda: self._read(experiment_id))
        report = b"null" if kept.version == version else kept.json
        said = (experiment, report, kept.version.encode())
        return b'{"experiment":%b,"report":%b,"version":"%b"}' % said

    async def _read(self, experiment_id: str) -> KeptReport:
        experiment = await self._trainer.get_experiment(experiment_id)
        kept = self._kept.get(experiment_id)
        if kept is None or self._must_renew(kept, experiment):
            kept = await self._renewed(experiment)
        self._kept[experiment_id] = kept
        self._kept.move_to_end(experiment_id)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return messages.encoded(messages.of_experiment(experiment)), kept

    def _must_renew(self, kept: _Kept, experiment: Experiment) -> bool:
        is_resting = self._clock() < kept.rests_until and not experiment.state.is_final
        return kept.mark != _mark(experiment) and not is_resting

    async def _renewed(self, experiment: Experiment) -> _Kept:
        began = self._clock()
        report = await self._trainer.get_report(experiment.experiment_id)
        spec = experiment.spec
        planned = len(spec.seeds) * max(1, len(spec.variations))
        json = await asyncio.to_thread(
            lambda: messages.encoded(as_json(report_view(report, planned=planned)))
        )
        ended = self._clock()
        version = hashlib.sha256(json).hexdigest()[:16]
        return _Kept(_mark(experiment), json, version, ended + _REST * (ended - began))


def _mark(experiment: Experiment) -> Mark:
    return experiment.state, replace(experiment.progress, time_left=None)
