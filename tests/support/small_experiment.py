"""A small experiment whose runs have ended."""

from __future__ import annotations

import asyncio

from mentorgrad.async_client import AsyncClient
from mentorgrad.domain.experiment import Arm, ExperimentSpec
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import Run
from mentorgrad.domain.spec import Budget, MentorChoice, RunSpec, Task
from run_store.temporary_store import TemporaryRunStore
from tests.support.quick_runs import end_runs


async def ended_experiment(store: TemporaryRunStore, trainer: str) -> str:
    """Two arms with two seeds; one of the runs has failed.

    Args:
        store: Of the trainer.
        trainer: Its address.

    Returns:
        The id of the experiment.
    """
    spec = ExperimentSpec(
        name="which",
        base=RunSpec(Function(), budget=Budget(gradient_steps=200)),
        tasks=(Task("toy"),),
        arms=(Arm("none"), Arm("noise", MentorChoice("perturb"))),
        seeds=(0, 1),
    )

    def loss(run: Run) -> float | None:
        return None if run.spec.labels["arm"] == "noise" and run.spec.seed else 1.0 + run.spec.seed

    async with AsyncClient(trainer) as client:
        found = (await client.create_experiment(spec)).experiment.experiment_id
        while not (await client.get_experiment(found)).state.is_final:
            end_runs(store, loss)
            await asyncio.sleep(0.01)
    return found
