"""What is looked at before a message from outside is believed, or even taken apart."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from google.protobuf import struct_pb2

from mentorgrad.domain.advice import Batch, ProposeInput
from mentorgrad.domain.query import RunFilter
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import MAX_VIOLATIONS
from mentorgrad.v1 import advice_pb2, mentor_service_pb2, query_pb2, run_pb2, tensor_pb2
from mentorgrad.wire import tensors
from mentorgrad.wire.codec import MAX_ENTRIES, from_message


def refusal(cls: type, message: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        from_message(cls, message, checked=True)
    return caught.value


def test_an_unspecified_entry_of_a_list_is_refused() -> None:
    """There is no default that it could stand for."""
    error = refusal(RunFilter, query_pb2.RunFilter(states=[1, 0]))
    assert error.violations[0].field == "states[1]"


@pytest.mark.parametrize("shape", [(0, 2**62), (2**62, 0, 2**62), (0, 2**63 - 1)])
def test_lengths_beyond_memory_are_refused_where_a_zero_makes_them_fit(shape: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        tensors.decode(tensor_pb2.Tensor(dtype=tensor_pb2.DTYPE_FLOAT32, shape=shape))
    assert caught.value.violations[0].field == "tensor.shape"


def test_a_million_dimensions_are_not_read() -> None:
    tensor = tensor_pb2.Tensor(dtype=tensor_pb2.DTYPE_FLOAT32, shape=[1] * 1_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="at most 8 dimensions"):
            tensors.decode(tensor)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_too_many_entries_are_refused_before_any_is_made() -> None:
    """An empty candidate is two bytes on the wire, and a kilobyte as an object."""
    message = advice_pb2.Batch.FromString(b"\x2a\x00" * 300_000)
    assert len(message.candidates) == 300_000
    tracemalloc.start()
    try:
        error = refusal(Batch, message)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert error.violations[0].field == "candidates"


@pytest.mark.slow
def test_entries_count_together() -> None:
    batch = advice_pb2.Batch.FromString(b"\x1a\x00" * (MAX_ENTRIES // 2))
    message = mentor_service_pb2.ProposeRequest(
        open=advice_pb2.AdviseOpen(session_id="s"),
        request=advice_pb2.ProposalRequest(request_id="r"),
    )
    message.batches.append(batch)
    assert from_message(ProposeInput, message, checked=True).batches
    message.batches.append(batch)
    error = refusal(ProposeInput, message)
    assert error.violations[0].field == "batches[1].snapshots"
    assert str(MAX_ENTRIES) in error.message


def test_options_are_small() -> None:
    options = struct_pb2.Struct()
    options["x"] = "y" * 60_000
    spec = run_pb2.RunSpec(objective={"function": {}}, mentor={"options": options})
    assert from_message(RunSpec, spec, checked=True).mentor.options["x"]
    spec.mentor.options["z"] = "y" * 6_000
    assert refusal(RunSpec, spec).violations[0].field == "mentor.options"


def test_only_the_first_violations_are_named() -> None:
    labels = ["\x00"] * 1_000
    error = refusal(RunSpec, run_pb2.RunSpec(objective={"function": {}}, task={"labels": labels}))
    assert len(error.violations) == MAX_VIOLATIONS
    long_key = {"k" * 50_000: "\x00"}
    error = refusal(RunSpec, run_pb2.RunSpec(objective={"function": {}}, labels=long_key))
    assert len(error.message) < 1_000
