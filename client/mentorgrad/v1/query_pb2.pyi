from google.protobuf import timestamp_pb2 as _timestamp_pb2
from mentorgrad.v1 import run_pb2 as _run_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class View(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VIEW_UNSPECIFIED: _ClassVar[View]
    VIEW_SUMMARY: _ClassVar[View]
    VIEW_FULL: _ClassVar[View]

class Thinning(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    THINNING_UNSPECIFIED: _ClassVar[Thinning]
    THINNING_EVEN: _ClassVar[Thinning]
    THINNING_MIN_MAX: _ClassVar[Thinning]

class RunOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_ORDER_UNSPECIFIED: _ClassVar[RunOrder]
    RUN_ORDER_NEWEST: _ClassVar[RunOrder]
    RUN_ORDER_OLDEST: _ClassVar[RunOrder]
    RUN_ORDER_BEST_SELECTION_LOSS: _ClassVar[RunOrder]

class TextSearch(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TEXT_SEARCH_UNSPECIFIED: _ClassVar[TextSearch]
    TEXT_SEARCH_FULL_TEXT: _ClassVar[TextSearch]
    TEXT_SEARCH_TRIGRAM: _ClassVar[TextSearch]
    TEXT_SEARCH_PREFIX: _ClassVar[TextSearch]
VIEW_UNSPECIFIED: View
VIEW_SUMMARY: View
VIEW_FULL: View
THINNING_UNSPECIFIED: Thinning
THINNING_EVEN: Thinning
THINNING_MIN_MAX: Thinning
RUN_ORDER_UNSPECIFIED: RunOrder
RUN_ORDER_NEWEST: RunOrder
RUN_ORDER_OLDEST: RunOrder
RUN_ORDER_BEST_SELECTION_LOSS: RunOrder
TEXT_SEARCH_UNSPECIFIED: TextSearch
TEXT_SEARCH_FULL_TEXT: TextSearch
TEXT_SEARCH_TRIGRAM: TextSearch
TEXT_SEARCH_PREFIX: TextSearch

class FieldFilter(_message.Message):
    __slots__ = ("field", "equals", "at_least", "at_most")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    EQUALS_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    AT_MOST_FIELD_NUMBER: _ClassVar[int]
    field: str
    equals: str
    at_least: float
    at_most: float
    def __init__(self, field: _Optional[str] = ..., equals: _Optional[str] = ..., at_least: _Optional[float] = ..., at_most: _Optional[float] = ...) -> None: ...

class RunFilter(_message.Message):
    __slots__ = ("states", "objective", "task", "mentor", "name_contains", "labels", "created_after", "created_before", "owner", "experiment_id", "fields", "text", "run_ids", "name_pattern")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STATES_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    MENTOR_FIELD_NUMBER: _ClassVar[int]
    NAME_CONTAINS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AFTER_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    NAME_PATTERN_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[_run_pb2.RunState]
    objective: str
    task: str
    mentor: str
    name_contains: str
    labels: _containers.ScalarMap[str, str]
    created_after: _timestamp_pb2.Timestamp
    created_before: _timestamp_pb2.Timestamp
    owner: str
    experiment_id: str
    fields: _containers.RepeatedCompositeFieldContainer[FieldFilter]
    text: str
    run_ids: _containers.RepeatedScalarFieldContainer[str]
    name_pattern: str
    def __init__(self, states: _Optional[_Iterable[_Union[_run_pb2.RunState, str]]] = ..., objective: _Optional[str] = ..., task: _Optional[str] = ..., mentor: _Optional[str] = ..., name_contains: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., created_after: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., created_before: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., owner: _Optional[str] = ..., experiment_id: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[FieldFilter, _Mapping]]] = ..., text: _Optional[str] = ..., run_ids: _Optional[_Iterable[str]] = ..., name_pattern: _Optional[str] = ...) -> None: ...

class CandidateFilter(_message.Message):
    __slots__ = ("sources", "stage", "best_first")
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    BEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedScalarFieldContainer[_run_pb2.CandidateSource]
    stage: int
    best_first: bool
    def __init__(self, sources: _Optional[_Iterable[_Union[_run_pb2.CandidateSource, str]]] = ..., stage: _Optional[int] = ..., best_first: bool = ...) -> None: ...

class AuditEntry(_message.Message):
    __slots__ = ("time", "owner", "project", "caller", "address", "action", "record_id", "outcome", "request_id", "call_id", "count")
    TIME_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    RECORD_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    owner: str
    project: str
    caller: str
    address: str
    action: str
    record_id: str
    outcome: str
    request_id: str
    call_id: str
    count: int
    def __init__(self, time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., owner: _Optional[str] = ..., project: _Optional[str] = ..., caller: _Optional[str] = ..., address: _Optional[str] = ..., action: _Optional[str] = ..., record_id: _Optional[str] = ..., outcome: _Optional[str] = ..., request_id: _Optional[str] = ..., call_id: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class Agent(_message.Message):
    __slots__ = ("name", "service", "host", "version", "devices", "slots", "labels", "mentors", "run_ids", "refused", "is_draining", "started_at", "seen_at", "memory_mib")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class RefusedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    MENTORS_FIELD_NUMBER: _ClassVar[int]
    RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    IS_DRAINING_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    SEEN_AT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MIB_FIELD_NUMBER: _ClassVar[int]
    name: str
    service: str
    host: str
    version: str
    devices: _containers.RepeatedScalarFieldContainer[str]
    slots: int
    labels: _containers.ScalarMap[str, str]
    mentors: _containers.RepeatedScalarFieldContainer[str]
    run_ids: _containers.RepeatedScalarFieldContainer[str]
    refused: _containers.ScalarMap[str, str]
    is_draining: bool
    started_at: _timestamp_pb2.Timestamp
    seen_at: _timestamp_pb2.Timestamp
    memory_mib: int
    def __init__(self, name: _Optional[str] = ..., service: _Optional[str] = ..., host: _Optional[str] = ..., version: _Optional[str] = ..., devices: _Optional[_Iterable[str]] = ..., slots: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ..., mentors: _Optional[_Iterable[str]] = ..., run_ids: _Optional[_Iterable[str]] = ..., refused: _Optional[_Mapping[str, str]] = ..., is_draining: bool = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., seen_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., memory_mib: _Optional[int] = ...) -> None: ...

class AuditFilter(_message.Message):
    __slots__ = ("owner", "caller", "action", "record_id", "outcome", "recorded_after", "recorded_before")
    OWNER_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    RECORD_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    RECORDED_AFTER_FIELD_NUMBER: _ClassVar[int]
    RECORDED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    owner: str
    caller: str
    action: str
    record_id: str
    outcome: str
    recorded_after: _timestamp_pb2.Timestamp
    recorded_before: _timestamp_pb2.Timestamp
    def __init__(self, owner: _Optional[str] = ..., caller: _Optional[str] = ..., action: _Optional[str] = ..., record_id: _Optional[str] = ..., outcome: _Optional[str] = ..., recorded_after: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., recorded_before: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
