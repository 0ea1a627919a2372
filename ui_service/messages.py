"""The JSON that the page is sent: that of protobuf's mapping for messages of the contract.

Names are in lower camel case, 64-bit integers are strings, numbers that are not finite are
``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, and fields with their default are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict, SerializeToJsonError
from google.protobuf.message import Message

from mentorgrad.domain.agent import Agent
from mentorgrad.domain.event import RunEvent
from mentorgrad.domain.experiment import Experiment
from mentorgrad.domain.label_score import LabelScore
from mentorgrad.domain.prediction import Prediction, PredictorInfo
from mentorgrad.domain.query import RunPage
from mentorgrad.domain.run import Artifact, Run, Trajectory
from mentorgrad.errors import InvalidInput, MentorgradError
from mentorgrad.responses import RunComparison, TrainerInfo
from mentorgrad.v1 import experiment_pb2, history_service_pb2, trainer_service_pb2
from mentorgrad.wire.codec import fill, to_message


def encoded(value: Any) -> bytes:
    """JSON on one line, in UTF-8."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A lone surrogate has no UTF-8; such a text can come from a program's output.
    return text.encode("utf-8", "replace")


def of_run(run: Run) -> dict[str, Any]:
    """A run, as the message `Run`."""
    return _plain(to_message(run))


def of_page(page: RunPage) -> dict[str, Any]:
    """A page of runs; unlike in protobuf's mapping, both fields are always there."""
    return {"runs": [of_run(run) for run in page.runs], "nextPageToken": page.next_page_token}


def of_event(event: RunEvent) -> dict[str, Any]:
    """An event of a run in the SUMMARY view, as the message `RunEvent`."""
    return _plain(to_message(event))


def of_experiment(experiment: Experiment) -> dict[str, Any]:
    """An experiment, as the message `Experiment`: of its spec only the names of arms, tasks and
    variations, the seeds and the subject. The rest is that of its runs, and can be large."""
    message = to_message(experiment)
    assert isinstance(message, experiment_pb2.Experiment)  # noqa: S101
    spec = message.spec
    spec.subject = experiment.spec.subject_arm
    spec.ClearField("base")
    spec.ClearField("tuning")
    for named in (spec.arms, spec.tasks, spec.variations):
        for item in named:
            name = item.name
            item.Clear()
            item.name = name
    return _plain(message)


def of_trainer(info: TrainerInfo) -> dict[str, Any]:
    """What a trainer offers, as the message `GetTrainerInfoResponse`."""
    return _plain(fill(trainer_service_pb2.GetTrainerInfoResponse(), info))


def of_agent(agent: Agent, is_alive: bool) -> dict[str, Any]:
    """An agent, as the message `Agent`, and whether it reports."""
    return _plain(to_message(agent)) | {"isAlive": is_alive}


def of_predictor(info: PredictorInfo) -> dict[str, Any]:
    """What a predict service predicts with, as the message `PredictorInfo`."""
    return _plain(to_message(info))


def of_prediction(found: Prediction) -> dict[str, Any]:
    """A prediction, as the message `Prediction`."""
    return _plain(to_message(found))


def of_label_score(score: LabelScore) -> dict[str, Any]:
    """What is predicted for the rows of a label, as the message `LabelScore`."""
    return _plain(to_message(score))


def of_artifact(artifact: Artifact) -> dict[str, Any]:
    """A file of a run, as the message `Artifact`."""
    return _plain(to_message(artifact))


def of_comparison(found: RunComparison) -> dict[str, Any]:
    """Compared runs, as the message `CompareRunsResponse`; its fields are always there."""
    response = _plain(fill(history_service_pb2.CompareRunsResponse(), found))
    return {"runs": [], "differences": []} | response


def of_trajectory(found: Trajectory, restarted: Collection[int]) -> dict[str, Any]:
    """The points of a loss curve, in order of step.

    Args:
        found: The trajectory; its parameters are not read.
        restarted: Stages that began with a proposal.
    """
    points = []
    before = None
    for snapshot, stage in zip(found.snapshots, found.stages, strict=True):
        points.append(
            {
                "step": snapshot.step,
                "stage": stage,
                "loss": number(snapshot.train_loss),
                "learningRate": number(snapshot.learning_rate),
                "gradientNorm": number(snapshot.gradient_norm),
                "words": snapshot.text,
                "isRestart": stage != before and stage in restarted,
            }
        )
        before = stage
    return {"points": points}


def number(value: float) -> float | str:
    """A number as protobuf's mapping writes it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def of_error(error: MentorgradError) -> dict[str, Any]:
    """An error: its reason, message, and the first invalid field (empty: none)."""
    violations = error.violations if isinstance(error, InvalidInput) else ()
    field = violations[0].field if violations else ""
    return {"error": {"reason": error.reason, "message": error.message, "field": field}}


def _plain(message: Message) -> dict[str, Any]:
    try:
        return dict(MessageToDict(message))
    except SerializeToJsonError:
        # A free mapping with a number that JSON does not have; a client may record one.
        _spell_numbers(message)
        return dict(MessageToDict(message))


def _spell_numbers(message: Message) -> None:
    """Writes numbers of free mappings that are not finite as text, in place."""
    if isinstance(message, struct_pb2.Value):
        value = number(message.number_value)
        if isinstance(value, str):
            message.string_value = value
    for field, content in message.ListFields():
        if field.message_type is None:
            continue
        items: Any = (content,) if isinstance(content, Message) else content
        for item in items.values() if hasattr(items, "values") else items:
            if isinstance(item, Message):
                _spell_numbers(item)
