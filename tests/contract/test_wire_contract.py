"""The dataclasses and the protos say the same, and every value survives the way there and back."""

from __future__ import annotations

import dataclasses
import enum
import math
import typing
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mentorgrad.domain.advice import MentorInfo, Outcomes, ProposalRequest
from mentorgrad.domain.event import Payload, RunEvent, Segment
from mentorgrad.domain.experiment import Experiment, Report
from mentorgrad.domain.prediction import Prediction, PredictorInfo
from mentorgrad.domain.query import CandidateFilter, RunFilter
from mentorgrad.domain.run import Artifact, Run, Snapshot
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import DataLoss, InvalidInput
from mentorgrad.schema import FieldKind, FieldType, all_dataclasses, field_types
from mentorgrad.v1 import event_pb2, query_pb2, run_pb2, tensor_pb2
from mentorgrad.wire import codec, tensors

ROOTS = (
    *(RunEvent, Run, MentorInfo, Outcomes, ProposalRequest, RunFilter, CandidateFilter, Artifact),
    *(Experiment, Report, Prediction, PredictorInfo),
)
DATACLASSES = all_dataclasses(ROOTS)
ENUMS = {
    kind.base
    for cls in DATACLASSES
    for kind in field_types(cls).values()
    if kind.kind is FieldKind.ENUM
}


@pytest.mark.parametrize("cls", DATACLASSES, ids=lambda cls: cls.__name__)
def test_a_message_has_the_dataclass_fields_and_no_others(cls: type) -> None:
    descriptor = codec.message_class(cls).DESCRIPTOR
    outside_oneofs = {
        f.name
        for f in descriptor.fields
        if f.containing_oneof is None or f.containing_oneof.name.startswith("_")
    }
    unions = {o.name for o in descriptor.oneofs if not o.name.startswith("_")}
    assert outside_oneofs | unions == set(field_types(cls))


@pytest.mark.parametrize("cls", DATACLASSES, ids=lambda cls: cls.__name__)
def test_a_constructor_only_assigns(cls: type) -> None:
    """The codec makes dataclasses without it."""
    assert not hasattr(cls, "__post_init__")
    assert not hasattr(cls, "__slots__")
    assert all(field.init for field in dataclasses.fields(cls))


@pytest.mark.parametrize("cls", DATACLASSES, ids=lambda cls: cls.__name__)
def test_a_default_that_is_not_zero_has_presence_on_the_wire(cls: type) -> None:
    """Else an absent field could not be told from an explicit zero."""
    descriptor = codec.message_class(cls).DESCRIPTOR
    for field in dataclasses.fields(cls):
        kind = field_types(cls)[field.name]
        if kind.kind is not FieldKind.SCALAR or kind.repeated:
            continue
        if field.default not in (dataclasses.MISSING, "", 0, 0.0, False):
            assert descriptor.fields_by_name[field.name].has_presence, field.name


@pytest.mark.parametrize("cls", sorted(ENUMS, key=lambda c: c.__name__), ids=lambda c: c.__name__)
def test_an_enum_has_the_same_members_on_the_wire(cls: type[enum.Enum]) -> None:
    numbers = {member: codec.enum_number(member) for member in cls}
    assert 0 not in numbers.values()
    assert {codec.enum_member(cls, number) for number in numbers.values()} == set(cls)
    descriptor = next(
        f.enum_type
        for owner in (run_pb2, query_pb2, *_modules())
        for message in owner.DESCRIPTOR.message_types_by_name.values()
        for f in message.fields
        if f.type == FieldDescriptor.TYPE_ENUM and f.enum_type.name == cls.__name__
    )
    assert len(descriptor.values) == len(cls) + 1


def _modules() -> tuple[Any, ...]:
    from mentorgrad.v1 import advice_pb2, event_pb2, experiment_pb2

    return advice_pb2, event_pb2, experiment_pb2


TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
SCALARS: dict[type, st.SearchStrategy] = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    str: TEXTS,
    bool: st.booleans(),
    bytes: st.binary(max_size=8),
}
VALUES: dict[FieldKind, st.SearchStrategy] = {
    FieldKind.DATETIME: st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(
        lambda moment: moment.replace(tzinfo=UTC)
    ),
    FieldKind.DURATION: st.timedeltas(timedelta(0), timedelta(days=365)),
    FieldKind.STRUCT: st.dictionaries(TEXTS, st.integers(-(2**53), 2**53) | TEXTS | st.booleans()),
    FieldKind.STRING_MAP: st.dictionaries(TEXTS, TEXTS, max_size=2),
    FieldKind.ARRAY: hnp.arrays(np.float32, (2, 3), elements=st.floats(-1, 1, width=32)),
}


def value_of(kind: FieldType) -> st.SearchStrategy:
    if kind.kind is FieldKind.UNION:
        one = st.one_of([instance_of(member) for member in kind.members])
    elif kind.kind is FieldKind.MESSAGE:
        one = instance_of(kind.base)
    elif kind.kind is FieldKind.ENUM:
        one = st.sampled_from(kind.base)
    else:
        one = SCALARS[kind.base] if kind.kind is FieldKind.SCALAR else VALUES[kind.kind]
    if kind.repeated:
        return st.lists(one, max_size=2).map(tuple)
    return st.none() | one if kind.optional else one


def instance_of(cls: type) -> st.SearchStrategy:
    fields = {name: value_of(kind) for name, kind in field_types(cls).items()}
    return st.deferred(lambda: st.builds(cls, **fields))


def same(a: Any, b: Any) -> bool:
    """Equality that looks into arrays."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(
            same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a)
        )
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.mark.slow
@pytest.mark.parametrize("payload", typing.get_args(Payload), ids=lambda cls: cls.__name__)
def test_every_event_survives_the_wire(payload: type) -> None:
    @settings(max_examples=15)
    @given(instance_of(payload), VALUES[FieldKind.DATETIME])
    def check(value: Any, moment: datetime) -> None:
        event = RunEvent("r", 7, 2, moment, value)
        assert same(codec.decode_event(codec.encode_event(event)), event)

    check()


@settings(max_examples=40)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.int32, np.int64]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
def test_every_array_survives_the_wire(array: np.ndarray) -> None:
    again = tensors.decode(tensors.encode(array))
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)
    assert not again.flags.writeable


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (tensor_pb2.Tensor(dtype="DTYPE_FLOAT32", shape=[2, 2], data=b"x" * 15), "t.data"),
        (tensor_pb2.Tensor(dtype="DTYPE_FLOAT32", shape=[2**40, 2**40], data=b""), "t.data"),
        (tensor_pb2.Tensor(dtype="DTYPE_FLOAT32", shape=[-1], data=b""), "t.shape"),
        (tensor_pb2.Tensor(dtype="DTYPE_FLOAT32", shape=[1] * 9, data=b"xxxx"), "t.shape"),
        (tensor_pb2.Tensor(shape=[1], data=b"xxxx"), "t.dtype"),
        (tensor_pb2.Tensor(dtype=99, shape=[1], data=b"xxxx"), "t.dtype"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(message: tensor_pb2.Tensor, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        tensors.decode(message, "t")
    assert [v.field for v in caught.value.violations] == [field]


def test_an_absent_field_takes_the_default_and_an_explicit_zero_is_refused() -> None:
    assert codec.from_message(RunSpec, run_pb2.RunSpec()) == RunSpec()
    message = run_pb2.RunSpec(objective={"label_prompt": {"n_tokens": 0}})
    with pytest.raises(InvalidInput, match=r"spec\.objective\.label_prompt\.n_tokens"):
        codec.from_message(RunSpec, message, "spec", checked=True)


def test_figures_that_diverged_and_long_words_pass_the_checks_of_an_import() -> None:
    snapshot = Snapshot(step=1, train_loss=math.nan, gradient_norm=math.inf, text="w" * 5_000)
    event = RunEvent("r", 1, 1, datetime.now(UTC), Segment(0, 1, 1, (snapshot,)))
    again = codec.from_message(RunEvent, codec.to_message(event), "events[0]", checked=True)
    assert repr(again) == repr(event)


def test_an_empty_objective_and_an_unknown_enum_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"spec\.objective: must set exactly one of"):
        codec.from_message(RunSpec, run_pb2.RunSpec(objective={}), "spec")
    message = run_pb2.RunSpec(acceptance={"policy": 77})
    with pytest.raises(InvalidInput, match=r"spec\.acceptance\.policy: must be one of: race"):
        codec.from_message(RunSpec, message, "spec")


def test_an_absurd_duration_is_refused() -> None:
    message = run_pb2.RunSpec()
    message.mentor.timeout.seconds = 10**15
    with pytest.raises(InvalidInput, match=r"spec\.mentor\.timeout"):
        codec.from_message(RunSpec, message, "spec")


@pytest.mark.parametrize(("seconds", "nanos"), [(10**15, 0), (-(10**15), 0), (0, -1), (0, 10**9)])
def test_a_time_that_is_none_is_refused(seconds: int, nanos: int) -> None:
    message = event_pb2.RunEvent(seq=1, mentor_back={"mentor": "m"})
    message.time.seconds, message.time.nanos = seconds, nanos
    with pytest.raises(InvalidInput, match=r"events\[0\]\.time: must be a time between"):
        codec.from_message(RunEvent, message, "events[0]")


def test_bytes_that_are_no_event_are_data_loss() -> None:
    with pytest.raises(DataLoss):
        codec.decode_event(b"\xff\xff\xff")


def test_a_summary_has_no_raw_tensors() -> None:
    segment = Segment(0, 1, 2, (), np.ones((2, 3), np.float32))
    event = RunEvent("r", 1, 1, datetime.now(UTC), segment)
    assert event.summary().payload.parameters is None
    assert event.payload.parameters is not None
