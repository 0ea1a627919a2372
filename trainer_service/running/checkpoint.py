"""Checkpoints: the exact state of a run as one safetensors file, without pickle.

Tensors are stored unchanged. Counters, candidates and the pending answer are JSON in the file's
metadata, with protobuf messages in base64. Random streams are named by seed and position
(`trainer_service.seeds`), so the position alone determines the data order.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import structlog
import torch
from torch import Tensor

from mentorgrad.domain.advice import Answer
from mentorgrad.domain.event import CheckpointSaved, EventKind
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import Candidate, Usage
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import DataLoss, NotFound
from mentorgrad.wire import codec
from run_store.protocols import RunReader
from trainer_service import tensorfile
from trainer_service.costs import Prices
from trainer_service.protocols import Scored
from trainer_service.running.budget import Ledger
from trainer_service.running.loop_state import LoopPhase, LoopState, Pool
from trainer_service.running.recorder import Recorder
from trainer_service.running.scoring import Origin

log = structlog.get_logger(__name__)

VERSION = 1
"""Version of the layout; other versions are rejected."""
KEEP = 2
"""Number of checkpoints kept: if the newest is damaged, the one before it is used."""

T = TypeVar("T")

Found = tuple[int, LoopState | None, dict[str, Tensor], tuple[str, ...]]
"""(seq of a checkpoint's event, state, moments, names of the checkpoints up to it)."""
NOTHING: Found = 0, None, {}, ()
"""There is none, and the run must start from the beginning."""


def _pack(value: Any) -> str:
    return base64.b64encode(codec.encode(value)).decode()


def _unpack(cls: type[T], text: str) -> T:
    return codec.decode(cls, base64.b64decode(text))


def dump(at: LoopState, moments: dict[str, Tensor], train_time: timedelta) -> bytes:
    """Serializes the state, the optimizer's moments and the execution time so far."""
    tensors = {
        "parameters": at.parameters,
        "origin": at.origin.parameters,
        "best": at.best.parameters,
        "rng": torch.get_rng_state(),
    }
    tensors |= {f"moments/{name}": tensor for name, tensor in moments.items()}
    tensors |= {f"kept/{step}": tensor for step, tensor in at.kept.items()}
    if at.pool.entries:
        tensors["pool"] = torch.stack([entry.parameters for entry in at.pool.entries])
    document: dict[str, Any] = {
        "version": VERSION,
        "phase": at.phase.value,
        "stage": at.origin.stage,
        "origin_ids": list(at.origin.ids),
        "step": at.step,
        "stage_begin": at.stage_begin,
        "stage_length": at.stage_length,
        "incumbent_id": at.incumbent_id,
        "start_id": at.start_id,
        "asked_step": at.asked_step,
        "hinted": at.hinted,
        "restarts": at.restarts,
        "mentor_lost": at.mentor_lost,
        "tuned_model": at.tuned_model,
        "parts": at.parts,
        "train_microseconds": train_time // timedelta(microseconds=1),
        "final_reserve": at.ledger.final_reserve,
        "usage": _pack(at.ledger.usage),
        "best": _pack(at.best.candidate),
        "pool": [_pack(entry.candidate) for entry in at.pool.entries],
        "answer": _pack(at.answer) if at.answer is not None else None,
        "answer_is_fallback": at.answer_is_fallback,
    }
    if at.origin.settings is not None:
        document["settings"] = dict(at.origin.settings)
    # This copies all tensors to the host, so the state may change as soon as this returns.
    return tensorfile.save(tensors, {"state": json.dumps(document, sort_keys=True)})


def load(
    data: bytes, spec: RunSpec, prices: Prices, device: torch.device
) -> tuple[LoopState, dict[str, Tensor]]:
    """Restores the state and the optimizer's moments, and sets torch's RNG state.

    Raises:
        DataLoss: The bytes are not a checkpoint of this layout version.
    """
    tensors, metadata = tensorfile.load(data)
    try:
        document = json.loads(metadata["state"])
        if document["version"] != VERSION:
            raise DataLoss(f"checkpoint layout version {document['version']} is not supported")
        return _build(document, tensors, spec, prices, device)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise DataLoss(f"the checkpoint cannot be read: {error!r}") from None


def _build(
    document: dict[str, Any],
    tensors: dict[str, Tensor],
    spec: RunSpec,
    prices: Prices,
    device: torch.device,
) -> tuple[LoopState, dict[str, Tensor]]:
    def under(prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): tensor.to(device)
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }

    pool = [
        Scored(_unpack(Candidate, text), tensors["pool"][i].to(device))
        for i, text in enumerate(document["pool"])
    ]
    torch.set_rng_state(tensors["rng"])
    answer = document["answer"]
    progress = LoopState(
        ledger=Ledger(
            spec.budget, prices, document["final_reserve"], _unpack(Usage, document["usage"])
        ),
        parameters=tensors["parameters"].to(device),
        origin=Origin(
            document["stage"],
            tensors["origin"].to(device),
            tuple(document["origin_ids"]),
            document.get("settings"),
        ),
        best=Scored(_unpack(Candidate, document["best"]), tensors["best"].to(device)),
        pool=Pool(pool, spec.criterion),
        phase=LoopPhase(document["phase"]),
        step=document["step"],
        stage_begin=document["stage_begin"],
        stage_length=document["stage_length"],
        kept={int(step): tensor for step, tensor in under("kept/").items()},
        incumbent_id=document["incumbent_id"],
        start_id=document.get("start_id", ""),
        asked_step=document.get("asked_step"),
        hinted=document.get("hinted", False),
        answer=_unpack(Answer, answer) if answer is not None else None,
        answer_is_fallback=document["answer_is_fallback"],
        restarts=document["restarts"],
        mentor_lost=document["mentor_lost"],
        tuned_model=document.get("tuned_model", ""),
        parts=document.get("parts", 1),
        earlier_time=timedelta(microseconds=document["train_microseconds"]),
    )
    return progress, under("moments/")


class CheckpointWriter:
    """Saves the checkpoints of one run.

    Args:
        recorder: Stores the blob and then its event, from its own thread.
        attempt: Part of the file names, so that no attempt overwrites another's checkpoints.
        known: Names of the effective checkpoints so far, oldest first.
    """

    def __init__(self, recorder: Recorder, attempt: int, known: Sequence[str] = ()) -> None:
        self._recorder = recorder
        self._attempt = attempt
        self._names = list(known)
        self._count = 0

    def save(self, data: bytes, step: int) -> None:
        """Queues a checkpoint, to be stored after all events queued so far."""
        self._count += 1
        name = f"checkpoint-{self._attempt}-{self._count}.safetensors"
        digest = hashlib.sha256(data).hexdigest()
        self._recorder.blob(name, data, checkpoint=True)
        self._recorder.put(CheckpointSaved(step, name, len(data), digest))
        self._names = [*self._names, name][-KEEP:]
        self._recorder.prune(self._names)


def find(
    reader: RunReader, run_id: str, spec: RunSpec, prices: Prices, device: torch.device
) -> Found:
    """Finds the newest effective checkpoint that can be read, or `NOTHING`."""
    query = EventQuery(kinds=(EventKind.CHECKPOINT_SAVED,), effective=True)
    saved = [
        (event.seq, event.payload)
        for event in reader.events(run_id, query)
        if isinstance(event.payload, CheckpointSaved)
    ]
    for index in reversed(range(len(saved))):
        seq, checkpoint = saved[index]
        try:
            data = reader.read_artifact(run_id, checkpoint.artifact)
            if hashlib.sha256(data).hexdigest() != checkpoint.sha256:
                raise DataLoss("the bytes do not match the event's digest")
            state, moments = load(data, spec, prices, device)
        except (DataLoss, NotFound) as error:
            log.warning("checkpoint_unusable", run_id=run_id, seq=seq, error=error.message)
            continue
        names = tuple(c.artifact for _, c in saved[max(index + 1 - KEEP, 0) : index + 1])
        return seq, state, moments, names
    return NOTHING
