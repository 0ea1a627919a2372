"""Reads experiments and reports from a store, inside the service or without one."""

from __future__ import annotations

from dataclasses import replace

from mentorgrad.domain.experiment import Experiment, ExperimentPage, ExperimentState, Report
from run_store.open import open_store
from run_store.protocols import RunStore
from trainer_service.experiments.expansion import RunPurpose
from trainer_service.experiments.progress import ended, planned, with_progress
from trainer_service.experiments.run_submission import runs_of
from trainer_service.experiments.tuning import choose_rates, given_rates


class ExperimentReader:
    """Read-only experiment methods of `mentorgrad.Client`, on top of a store.

    Args:
        store: Store of the experiments.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store

    def get_experiment(self, experiment_id: str) -> Experiment:
        """Returns an experiment with its progress.

        Raises:
            NotFound: The experiment does not exist.
        """
        return with_progress(self._store, self._store.get_experiment(experiment_id))

    def list_experiments(self, page_size: int = 50, page_token: str = "") -> ExperimentPage:
        """Lists experiments, newest first, in pages.

        Raises:
            InvalidInput: `page_token` is from another query.
        """
        page = self._store.list_experiments(page_size, page_token)
        found = tuple(with_progress(self._store, item) for item in page.experiments)
        return replace(page, experiments=found)

    def get_report(self, experiment_id: str) -> Report:
        """Computes statistics over the runs that have ended so far.

        Raises:
            NotFound: The experiment does not exist.
        """
        from trainer_service.experiments.reporting import build_report  # imports scipy: slow

        experiment = self._store.get_experiment(experiment_id)
        spec = experiment.spec
        rates = given_rates(spec)
        if spec.tuning.learning_rates:
            behind = ended(self._store.count_runs(experiment_id), RunPurpose.TUNING)
            is_tuned = behind >= planned(spec, RunPurpose.TUNING)
            tuned = runs_of(self._store, experiment_id, phase=RunPurpose.TUNING)
            rates = choose_rates(spec, tuned) if is_tuned else {}
        runs = list(runs_of(self._store, experiment_id, phase=RunPurpose.MAIN))
        # Runs of a finished experiment may have been deleted since.
        is_whole = len(runs) >= planned(spec, RunPurpose.MAIN)
        complete = experiment.state is ExperimentState.FINISHED and is_whole
        return build_report(experiment_id, spec, runs, rates, complete)

    def close(self) -> None:
        """Closes the store."""
        self._store.close()


def open_experiments(url: str, *, read_only: bool = False) -> ExperimentReader:
    """Opens a store by its URL; see `run_store.open.open_store`."""
    return ExperimentReader(open_store(url, read_only=read_only))
