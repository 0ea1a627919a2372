"""The runs that are killed, and what is compared of them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from mentorgrad.domain.event import StateChanged
from mentorgrad.domain.objective import Function, LabelPrompt
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Acceptance, MentorChoice, Optimizer, RunSpec, Stages, Task
from run_store.open import open_store
from tests.support.effective_log import effective
from trainer_service.objectives.torch_free import ARTIFACT

_FUNCTION = RunSpec(
    objective=Function("levy", 3),
    stages=Stages(count=4, steps=100, candidates=3),
    mentor=MentorChoice("random_tokens", proposals=5),
    acceptance=Acceptance(finalists=2, probe_steps=15),
    checkpoint_interval=timedelta(milliseconds=20),
    seed=3,
)
_LABEL_PROMPT = RunSpec(
    objective=LabelPrompt(n_tokens=2),
    task=Task("tickets", shots=2, selection_rows=2),
    stages=Stages(count=3, steps=10, candidates=2),
    mentor=MentorChoice("random_tokens", proposals=2),
    acceptance=Acceptance(finalists=1, probe_steps=3),
    checkpoint_interval=timedelta(milliseconds=20),
    seed=5,
)
_OPTIMIZERS = {
    "adamw": Optimizer("adamw", learning_rate=0.05, batch_size=4),
    "sgd": Optimizer("sgd", learning_rate=0.01, batch_size=4),
    "zo_adam": Optimizer("zo_adam", learning_rate=0.05, batch_size=4),
    "cma": Optimizer("cma", learning_rate=0.1, batch_size=4, directions=4, subspace=8),
}
CASES = {
    f"{objective}-{optimizer}": replace(spec, optimizer=_OPTIMIZERS[optimizer])
    for objective, spec in {"function": _FUNCTION, "label_prompt": _LABEL_PROMPT}.items()
    for optimizer in _OPTIMIZERS
}
"""Objective and optimizer → a run of a second or two."""

VICTIMS = ("worker", "worker", "worker", "service", "both")
"""What is drawn from; those that also take a lease's length to recover are fewer."""


@dataclass(frozen=True)
class Kill:
    """One SIGKILL."""

    victim: str
    """``worker``, ``service``, ``both``. Or ``stopped``: the service is killed, and the worker
    stopped until another one has the run. Or ``disk``: nobody dies, and the disk is
    full for a while."""
    checks: int = 0
    """Step boundaries after which; of the attempt that is killed."""
    delay: float = 0.0
    """Seconds after that, so that it may fall into anything."""
    ahead: int = 20
    """Step boundaries that the run may do meanwhile; at the next one it waits for what happens."""
    blob: int = 0
    """Instead of the above: in the transaction that writes the attempt's n-th file."""


def random_kills(count: int, boundaries: int, seed: int) -> list[Kill]:
    """Kills at random points of a run.

    No attempt starts further on than the one before was killed at, so the run cannot end before it
    was killed that often, however late a kill comes. Every kind of victim is among them.

    Args:
        count: How many; at least as many as there are kinds of victims.
        boundaries: Step boundaries that an uninterrupted run has.
        seed: Of the points, delays and victims.
    """
    draw = random.Random(seed)
    ahead = boundaries // (2 * count)
    points = sorted(draw.sample(range(1, boundaries - ahead * count), count))
    gaps = [after - before for before, after in zip([0, *points], points, strict=False)]
    victims = [*sorted(set(VICTIMS)), *draw.choices(VICTIMS, k=count)][:count]
    draw.shuffle(victims)
    return [
        Kill(victim, gap, draw.uniform(0.0, 0.005), ahead)
        for victim, gap in zip(victims, gaps, strict=True)
    ]


@dataclass(frozen=True)
class Outcome:
    """What a run left, as it can be compared."""

    state: RunState
    effective: list[Any]
    artifact: bytes
    claims: list[float]
    """Seconds since the epoch at which workers took the run."""

    def differences(self, other: Outcome) -> tuple[int, int]:
        """(entries of the other's effective log that are missing here, entries too many here)."""
        mine, others = (Counter(map(repr, log)) for log in (self.effective, other.effective))
        return (others - mine).total(), (mine - others).total()


def outcome(url: str, run_id: str) -> Outcome:
    """Reads a run; its log must be whole.

    Raises:
        AssertionError: A number is missing or doubled.
    """
    store = open_store(url)
    try:
        events = list(store.events(run_id))
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return Outcome(
            store.get_run(run_id).state,
            effective(store, run_id),
            store.read_artifact(run_id, ARTIFACT),
            [
                event.time.timestamp()
                for event in events
                if isinstance(event.payload, StateChanged)
                and event.payload.state is RunState.RUNNING
            ],
        )
    finally:
        store.close()


def recoveries(kills: list[float], claims: list[float]) -> list[float]:
    """Seconds from each kill to the next worker's claim."""
    return [min(c for c in claims if c > kill) - kill for kill in kills]
