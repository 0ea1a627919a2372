from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from mentorgrad.v1 import advice_pb2 as _advice_pb2
from mentorgrad.v1 import run_pb2 as _run_pb2
from mentorgrad.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_KIND_UNSPECIFIED: _ClassVar[EventKind]
    EVENT_KIND_CREATED: _ClassVar[EventKind]
    EVENT_KIND_STATE_CHANGED: _ClassVar[EventKind]
    EVENT_KIND_STAGE_STARTED: _ClassVar[EventKind]
    EVENT_KIND_SEGMENT: _ClassVar[EventKind]
    EVENT_KIND_CANDIDATES_SCORED: _ClassVar[EventKind]
    EVENT_KIND_PROPOSALS_RECEIVED: _ClassVar[EventKind]
    EVENT_KIND_RESTART_DECIDED: _ClassVar[EventKind]
    EVENT_KIND_CHECKPOINT_SAVED: _ClassVar[EventKind]
    EVENT_KIND_MENTOR_LOST: _ClassVar[EventKind]
    EVENT_KIND_MENTOR_BACK: _ClassVar[EventKind]
    EVENT_KIND_RESUMED: _ClassVar[EventKind]
    EVENT_KIND_FINISHED: _ClassVar[EventKind]
    EVENT_KIND_STEP_DIVIDED: _ClassVar[EventKind]
EVENT_KIND_UNSPECIFIED: EventKind
EVENT_KIND_CREATED: EventKind
EVENT_KIND_STATE_CHANGED: EventKind
EVENT_KIND_STAGE_STARTED: EventKind
EVENT_KIND_SEGMENT: EventKind
EVENT_KIND_CANDIDATES_SCORED: EventKind
EVENT_KIND_PROPOSALS_RECEIVED: EventKind
EVENT_KIND_RESTART_DECIDED: EventKind
EVENT_KIND_CHECKPOINT_SAVED: EventKind
EVENT_KIND_MENTOR_LOST: EventKind
EVENT_KIND_MENTOR_BACK: EventKind
EVENT_KIND_RESUMED: EventKind
EVENT_KIND_FINISHED: EventKind
EVENT_KIND_STEP_DIVIDED: EventKind

class Created(_message.Message):
    __slots__ = ("spec", "request_id", "versions", "task_digest", "trace_parent", "annotation")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    TASK_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TRACE_PARENT_FIELD_NUMBER: _ClassVar[int]
    ANNOTATION_FIELD_NUMBER: _ClassVar[int]
    spec: _run_pb2.RunSpec
    request_id: str
    versions: _containers.ScalarMap[str, str]
    task_digest: str
    trace_parent: str
    annotation: _run_pb2.RunAnnotation
    def __init__(self, spec: _Optional[_Union[_run_pb2.RunSpec, _Mapping]] = ..., request_id: _Optional[str] = ..., versions: _Optional[_Mapping[str, str]] = ..., task_digest: _Optional[str] = ..., trace_parent: _Optional[str] = ..., annotation: _Optional[_Union[_run_pb2.RunAnnotation, _Mapping]] = ...) -> None: ...

class StateChanged(_message.Message):
    __slots__ = ("state", "reason")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    state: _run_pb2.RunState
    reason: str
    def __init__(self, state: _Optional[_Union[_run_pb2.RunState, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class StageStarted(_message.Message):
    __slots__ = ("stage", "step", "text", "device", "tuned_model")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    TUNED_MODEL_FIELD_NUMBER: _ClassVar[int]
    stage: int
    step: int
    text: str
    device: str
    tuned_model: str
    def __init__(self, stage: _Optional[int] = ..., step: _Optional[int] = ..., text: _Optional[str] = ..., device: _Optional[str] = ..., tuned_model: _Optional[str] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("stage", "step_start", "step_end", "snapshots", "parameters", "forward_rows", "train_time")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STEP_START_FIELD_NUMBER: _ClassVar[int]
    STEP_END_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    FORWARD_ROWS_FIELD_NUMBER: _ClassVar[int]
    TRAIN_TIME_FIELD_NUMBER: _ClassVar[int]
    stage: int
    step_start: int
    step_end: int
    snapshots: _containers.RepeatedCompositeFieldContainer[_run_pb2.Snapshot]
    parameters: _tensor_pb2.Tensor
    forward_rows: int
    train_time: _duration_pb2.Duration
    def __init__(self, stage: _Optional[int] = ..., step_start: _Optional[int] = ..., step_end: _Optional[int] = ..., snapshots: _Optional[_Iterable[_Union[_run_pb2.Snapshot, _Mapping]]] = ..., parameters: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., forward_rows: _Optional[int] = ..., train_time: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class CandidatesScored(_message.Message):
    __slots__ = ("stage", "candidates", "usage")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    stage: int
    candidates: _containers.RepeatedCompositeFieldContainer[_run_pb2.Candidate]
    usage: _run_pb2.Usage
    def __init__(self, stage: _Optional[int] = ..., candidates: _Optional[_Iterable[_Union[_run_pb2.Candidate, _Mapping]]] = ..., usage: _Optional[_Union[_run_pb2.Usage, _Mapping]] = ...) -> None: ...

class ProposalsReceived(_message.Message):
    __slots__ = ("stage", "answer", "is_fallback", "usage", "lag_steps")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    IS_FALLBACK_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    LAG_STEPS_FIELD_NUMBER: _ClassVar[int]
    stage: int
    answer: _advice_pb2.Answer
    is_fallback: bool
    usage: _run_pb2.Usage
    lag_steps: int
    def __init__(self, stage: _Optional[int] = ..., answer: _Optional[_Union[_advice_pb2.Answer, _Mapping]] = ..., is_fallback: bool = ..., usage: _Optional[_Union[_run_pb2.Usage, _Mapping]] = ..., lag_steps: _Optional[int] = ...) -> None: ...

class Branch(_message.Message):
    __slots__ = ("candidate_id", "loss_before", "loss_after")
    CANDIDATE_ID_FIELD_NUMBER: _ClassVar[int]
    LOSS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    LOSS_AFTER_FIELD_NUMBER: _ClassVar[int]
    candidate_id: str
    loss_before: float
    loss_after: float
    def __init__(self, candidate_id: _Optional[str] = ..., loss_before: _Optional[float] = ..., loss_after: _Optional[float] = ...) -> None: ...

class RestartDecided(_message.Message):
    __slots__ = ("stage", "policy", "restarted", "chosen_id", "incumbent_id", "branches", "outcomes", "reason", "usage", "settings")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    RESTARTED_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_ID_FIELD_NUMBER: _ClassVar[int]
    INCUMBENT_ID_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    stage: int
    policy: _run_pb2.Policy
    restarted: bool
    chosen_id: str
    incumbent_id: str
    branches: _containers.RepeatedCompositeFieldContainer[Branch]
    outcomes: _containers.RepeatedCompositeFieldContainer[_advice_pb2.ProposalOutcome]
    reason: str
    usage: _run_pb2.Usage
    settings: _struct_pb2.Struct
    def __init__(self, stage: _Optional[int] = ..., policy: _Optional[_Union[_run_pb2.Policy, str]] = ..., restarted: bool = ..., chosen_id: _Optional[str] = ..., incumbent_id: _Optional[str] = ..., branches: _Optional[_Iterable[_Union[Branch, _Mapping]]] = ..., outcomes: _Optional[_Iterable[_Union[_advice_pb2.ProposalOutcome, _Mapping]]] = ..., reason: _Optional[str] = ..., usage: _Optional[_Union[_run_pb2.Usage, _Mapping]] = ..., settings: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class CheckpointSaved(_message.Message):
    __slots__ = ("step", "artifact", "size_bytes", "sha256")
    STEP_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    step: int
    artifact: str
    size_bytes: int
    sha256: str
    def __init__(self, step: _Optional[int] = ..., artifact: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class StepDivided(_message.Message):
    __slots__ = ("stage", "step", "parts", "rows_at_once")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    ROWS_AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    stage: int
    step: int
    parts: int
    rows_at_once: int
    def __init__(self, stage: _Optional[int] = ..., step: _Optional[int] = ..., parts: _Optional[int] = ..., rows_at_once: _Optional[int] = ...) -> None: ...

class MentorLost(_message.Message):
    __slots__ = ("mentor", "reason")
    MENTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    mentor: str
    reason: str
    def __init__(self, mentor: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class MentorBack(_message.Message):
    __slots__ = ("mentor",)
    MENTOR_FIELD_NUMBER: _ClassVar[int]
    mentor: str
    def __init__(self, mentor: _Optional[str] = ...) -> None: ...

class Resumed(_message.Message):
    __slots__ = ("checkpoint_seq", "reason")
    CHECKPOINT_SEQ_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    checkpoint_seq: int
    reason: str
    def __init__(self, checkpoint_seq: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("state", "result", "error", "label_scores")
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    LABEL_SCORES_FIELD_NUMBER: _ClassVar[int]
    state: _run_pb2.RunState
    result: _run_pb2.RunResult
    error: str
    label_scores: _containers.RepeatedCompositeFieldContainer[_run_pb2.LabelScore]
    def __init__(self, state: _Optional[_Union[_run_pb2.RunState, str]] = ..., result: _Optional[_Union[_run_pb2.RunResult, _Mapping]] = ..., error: _Optional[str] = ..., label_scores: _Optional[_Iterable[_Union[_run_pb2.LabelScore, _Mapping]]] = ...) -> None: ...

class RunEvent(_message.Message):
    __slots__ = ("run_id", "seq", "attempt", "time", "created", "state_changed", "stage_started", "segment", "candidates_scored", "proposals_received", "restart_decided", "checkpoint_saved", "mentor_lost", "mentor_back", "resumed", "finished", "step_divided")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    STATE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    STAGE_STARTED_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_SCORED_FIELD_NUMBER: _ClassVar[int]
    PROPOSALS_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    RESTART_DECIDED_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_SAVED_FIELD_NUMBER: _ClassVar[int]
    MENTOR_LOST_FIELD_NUMBER: _ClassVar[int]
    MENTOR_BACK_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    STEP_DIVIDED_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    seq: int
    attempt: int
    time: _timestamp_pb2.Timestamp
    created: Created
    state_changed: StateChanged
    stage_started: StageStarted
    segment: Segment
    candidates_scored: CandidatesScored
    proposals_received: ProposalsReceived
    restart_decided: RestartDecided
    checkpoint_saved: CheckpointSaved
    mentor_lost: MentorLost
    mentor_back: MentorBack
    resumed: Resumed
    finished: Finished
    step_divided: StepDivided
    def __init__(self, run_id: _Optional[str] = ..., seq: _Optional[int] = ..., attempt: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., created: _Optional[_Union[Created, _Mapping]] = ..., state_changed: _Optional[_Union[StateChanged, _Mapping]] = ..., stage_started: _Optional[_Union[StageStarted, _Mapping]] = ..., segment: _Optional[_Union[Segment, _Mapping]] = ..., candidates_scored: _Optional[_Union[CandidatesScored, _Mapping]] = ..., proposals_received: _Optional[_Union[ProposalsReceived, _Mapping]] = ..., restart_decided: _Optional[_Union[RestartDecided, _Mapping]] = ..., checkpoint_saved: _Optional[_Union[CheckpointSaved, _Mapping]] = ..., mentor_lost: _Optional[_Union[MentorLost, _Mapping]] = ..., mentor_back: _Optional[_Union[MentorBack, _Mapping]] = ..., resumed: _Optional[_Union[Resumed, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., step_divided: _Optional[_Union[StepDivided, _Mapping]] = ...) -> None: ...
