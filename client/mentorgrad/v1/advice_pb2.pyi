from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from mentorgrad.v1 import run_pb2 as _run_pb2
from mentorgrad.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProposalKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROPOSAL_KIND_UNSPECIFIED: _ClassVar[ProposalKind]
    PROPOSAL_KIND_TEXT: _ClassVar[ProposalKind]
    PROPOSAL_KIND_NUMBERS: _ClassVar[ProposalKind]
    PROPOSAL_KIND_SETTINGS: _ClassVar[ProposalKind]

class AnswerStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANSWER_STATUS_UNSPECIFIED: _ClassVar[AnswerStatus]
    ANSWER_STATUS_USABLE: _ClassVar[AnswerStatus]
    ANSWER_STATUS_UNUSABLE: _ClassVar[AnswerStatus]
    ANSWER_STATUS_TIMED_OUT: _ClassVar[AnswerStatus]
    ANSWER_STATUS_UNAVAILABLE: _ClassVar[AnswerStatus]
    ANSWER_STATUS_REFUSED: _ClassVar[AnswerStatus]
    ANSWER_STATUS_CANCELLED: _ClassVar[AnswerStatus]

class ProposalStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROPOSAL_STATUS_UNSPECIFIED: _ClassVar[ProposalStatus]
    PROPOSAL_STATUS_APPLIED: _ClassVar[ProposalStatus]
    PROPOSAL_STATUS_LOST: _ClassVar[ProposalStatus]
    PROPOSAL_STATUS_NOT_CHOSEN: _ClassVar[ProposalStatus]
    PROPOSAL_STATUS_DUPLICATE: _ClassVar[ProposalStatus]
    PROPOSAL_STATUS_EMPTY: _ClassVar[ProposalStatus]
    PROPOSAL_STATUS_TOO_LONG: _ClassVar[ProposalStatus]
    PROPOSAL_STATUS_OUT_OF_BOUNDS: _ClassVar[ProposalStatus]
    PROPOSAL_STATUS_MALFORMED: _ClassVar[ProposalStatus]
    PROPOSAL_STATUS_OVER_BUDGET: _ClassVar[ProposalStatus]
PROPOSAL_KIND_UNSPECIFIED: ProposalKind
PROPOSAL_KIND_TEXT: ProposalKind
PROPOSAL_KIND_NUMBERS: ProposalKind
PROPOSAL_KIND_SETTINGS: ProposalKind
ANSWER_STATUS_UNSPECIFIED: AnswerStatus
ANSWER_STATUS_USABLE: AnswerStatus
ANSWER_STATUS_UNUSABLE: AnswerStatus
ANSWER_STATUS_TIMED_OUT: AnswerStatus
ANSWER_STATUS_UNAVAILABLE: AnswerStatus
ANSWER_STATUS_REFUSED: AnswerStatus
ANSWER_STATUS_CANCELLED: AnswerStatus
PROPOSAL_STATUS_UNSPECIFIED: ProposalStatus
PROPOSAL_STATUS_APPLIED: ProposalStatus
PROPOSAL_STATUS_LOST: ProposalStatus
PROPOSAL_STATUS_NOT_CHOSEN: ProposalStatus
PROPOSAL_STATUS_DUPLICATE: ProposalStatus
PROPOSAL_STATUS_EMPTY: ProposalStatus
PROPOSAL_STATUS_TOO_LONG: ProposalStatus
PROPOSAL_STATUS_OUT_OF_BOUNDS: ProposalStatus
PROPOSAL_STATUS_MALFORMED: ProposalStatus
PROPOSAL_STATUS_OVER_BUDGET: ProposalStatus

class TaskCard(_message.Message):
    __slots__ = ("objective", "description", "labels", "proposal", "place")
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    objective: str
    description: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    proposal: str
    place: str
    def __init__(self, objective: _Optional[str] = ..., description: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., proposal: _Optional[str] = ..., place: _Optional[str] = ...) -> None: ...

class Constraints(_message.Message):
    __slots__ = ("kind", "n_tokens", "max_words", "dimensions", "lower", "upper", "settings_schema")
    KIND_FIELD_NUMBER: _ClassVar[int]
    N_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_WORDS_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    LOWER_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    kind: ProposalKind
    n_tokens: int
    max_words: int
    dimensions: int
    lower: float
    upper: float
    settings_schema: _struct_pb2.Struct
    def __init__(self, kind: _Optional[_Union[ProposalKind, str]] = ..., n_tokens: _Optional[int] = ..., max_words: _Optional[int] = ..., dimensions: _Optional[int] = ..., lower: _Optional[float] = ..., upper: _Optional[float] = ..., settings_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class AdviseOpen(_message.Message):
    __slots__ = ("session_id", "card", "constraints", "strategy", "options", "seed")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    CONSTRAINTS_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    card: TaskCard
    constraints: Constraints
    strategy: str
    options: _struct_pb2.Struct
    seed: int
    def __init__(self, session_id: _Optional[str] = ..., card: _Optional[_Union[TaskCard, _Mapping]] = ..., constraints: _Optional[_Union[Constraints, _Mapping]] = ..., strategy: _Optional[str] = ..., options: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., seed: _Optional[int] = ...) -> None: ...

class Wants(_message.Message):
    __slots__ = ("words", "parameters", "hints", "embeddings", "exemplars")
    WORDS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    HINTS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    EXEMPLARS_FIELD_NUMBER: _ClassVar[int]
    words: bool
    parameters: bool
    hints: bool
    embeddings: bool
    exemplars: bool
    def __init__(self, words: bool = ..., parameters: bool = ..., hints: bool = ..., embeddings: bool = ..., exemplars: bool = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("wants", "model", "profile")
    WANTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    wants: Wants
    model: str
    profile: str
    def __init__(self, wants: _Optional[_Union[Wants, _Mapping]] = ..., model: _Optional[str] = ..., profile: _Optional[str] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("seq", "stage", "snapshots", "parameters", "candidates", "embeddings", "exemplar_losses")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    EXEMPLAR_LOSSES_FIELD_NUMBER: _ClassVar[int]
    seq: int
    stage: int
    snapshots: _containers.RepeatedCompositeFieldContainer[_run_pb2.Snapshot]
    parameters: _tensor_pb2.Tensor
    candidates: _containers.RepeatedCompositeFieldContainer[_run_pb2.Candidate]
    embeddings: _tensor_pb2.Tensor
    exemplar_losses: _tensor_pb2.Tensor
    def __init__(self, seq: _Optional[int] = ..., stage: _Optional[int] = ..., snapshots: _Optional[_Iterable[_Union[_run_pb2.Snapshot, _Mapping]]] = ..., parameters: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., candidates: _Optional[_Iterable[_Union[_run_pb2.Candidate, _Mapping]]] = ..., embeddings: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., exemplar_losses: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class TokenHint(_message.Message):
    __slots__ = ("token", "score")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    token: str
    score: float
    def __init__(self, token: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class PositionHints(_message.Message):
    __slots__ = ("position", "current", "tokens")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    position: int
    current: str
    tokens: _containers.RepeatedCompositeFieldContainer[TokenHint]
    def __init__(self, position: _Optional[int] = ..., current: _Optional[str] = ..., tokens: _Optional[_Iterable[_Union[TokenHint, _Mapping]]] = ...) -> None: ...

class Exemplar(_message.Message):
    __slots__ = ("text", "label", "predicted", "loss")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    text: str
    label: str
    predicted: str
    loss: float
    def __init__(self, text: _Optional[str] = ..., label: _Optional[str] = ..., predicted: _Optional[str] = ..., loss: _Optional[float] = ...) -> None: ...

class ProposalRequest(_message.Message):
    __slots__ = ("request_id", "stage", "incumbent_id", "count", "seed", "timeout", "trace_parent", "hints", "exemplars", "progress")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    INCUMBENT_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TRACE_PARENT_FIELD_NUMBER: _ClassVar[int]
    HINTS_FIELD_NUMBER: _ClassVar[int]
    EXEMPLARS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    stage: int
    incumbent_id: str
    count: int
    seed: int
    timeout: _duration_pb2.Duration
    trace_parent: str
    hints: _containers.RepeatedCompositeFieldContainer[PositionHints]
    exemplars: _containers.RepeatedCompositeFieldContainer[Exemplar]
    progress: float
    def __init__(self, request_id: _Optional[str] = ..., stage: _Optional[int] = ..., incumbent_id: _Optional[str] = ..., count: _Optional[int] = ..., seed: _Optional[int] = ..., timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., trace_parent: _Optional[str] = ..., hints: _Optional[_Iterable[_Union[PositionHints, _Mapping]]] = ..., exemplars: _Optional[_Iterable[_Union[Exemplar, _Mapping]]] = ..., progress: _Optional[float] = ...) -> None: ...

class Proposal(_message.Message):
    __slots__ = ("proposal_id", "text", "values", "parameters", "parents", "rationale", "base_id", "weight", "settings")
    PROPOSAL_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PARENTS_FIELD_NUMBER: _ClassVar[int]
    RATIONALE_FIELD_NUMBER: _ClassVar[int]
    BASE_ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    proposal_id: str
    text: str
    values: _containers.RepeatedScalarFieldContainer[float]
    parameters: _tensor_pb2.Tensor
    parents: _containers.RepeatedScalarFieldContainer[str]
    rationale: str
    base_id: str
    weight: float
    settings: _struct_pb2.Struct
    def __init__(self, proposal_id: _Optional[str] = ..., text: _Optional[str] = ..., values: _Optional[_Iterable[float]] = ..., parameters: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., parents: _Optional[_Iterable[str]] = ..., rationale: _Optional[str] = ..., base_id: _Optional[str] = ..., weight: _Optional[float] = ..., settings: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class AnswerRecord(_message.Message):
    __slots__ = ("mentor", "strategy", "model", "profile", "seed", "question", "raw_replies", "prompt_tokens", "reply_tokens", "duration")
    MENTOR_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    RAW_REPLIES_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REPLY_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    mentor: str
    strategy: str
    model: str
    profile: str
    seed: int
    question: str
    raw_replies: _containers.RepeatedScalarFieldContainer[str]
    prompt_tokens: int
    reply_tokens: int
    duration: _duration_pb2.Duration
    def __init__(self, mentor: _Optional[str] = ..., strategy: _Optional[str] = ..., model: _Optional[str] = ..., profile: _Optional[str] = ..., seed: _Optional[int] = ..., question: _Optional[str] = ..., raw_replies: _Optional[_Iterable[str]] = ..., prompt_tokens: _Optional[int] = ..., reply_tokens: _Optional[int] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("request_id", "status", "proposals", "records", "detail")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    status: AnswerStatus
    proposals: _containers.RepeatedCompositeFieldContainer[Proposal]
    records: _containers.RepeatedCompositeFieldContainer[AnswerRecord]
    detail: str
    def __init__(self, request_id: _Optional[str] = ..., status: _Optional[_Union[AnswerStatus, str]] = ..., proposals: _Optional[_Iterable[_Union[Proposal, _Mapping]]] = ..., records: _Optional[_Iterable[_Union[AnswerRecord, _Mapping]]] = ..., detail: _Optional[str] = ...) -> None: ...

class ProposalOutcome(_message.Message):
    __slots__ = ("proposal_id", "status", "score", "probe_loss", "detail")
    PROPOSAL_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PROBE_LOSS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    proposal_id: str
    status: ProposalStatus
    score: _run_pb2.Score
    probe_loss: float
    detail: str
    def __init__(self, proposal_id: _Optional[str] = ..., status: _Optional[_Union[ProposalStatus, str]] = ..., score: _Optional[_Union[_run_pb2.Score, _Mapping]] = ..., probe_loss: _Optional[float] = ..., detail: _Optional[str] = ...) -> None: ...

class Outcomes(_message.Message):
    __slots__ = ("request_id", "outcomes")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    outcomes: _containers.RepeatedCompositeFieldContainer[ProposalOutcome]
    def __init__(self, request_id: _Optional[str] = ..., outcomes: _Optional[_Iterable[_Union[ProposalOutcome, _Mapping]]] = ...) -> None: ...

class StrategyInfo(_message.Message):
    __slots__ = ("name", "description", "options_schema", "wants", "kinds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    WANTS_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    options_schema: _struct_pb2.Struct
    wants: Wants
    kinds: _containers.RepeatedScalarFieldContainer[ProposalKind]
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., options_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., wants: _Optional[_Union[Wants, _Mapping]] = ..., kinds: _Optional[_Iterable[_Union[ProposalKind, str]]] = ...) -> None: ...

class MentorInfo(_message.Message):
    __slots__ = ("model", "backend", "profile", "strategies", "max_proposals", "context_tokens", "version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    STRATEGIES_FIELD_NUMBER: _ClassVar[int]
    MAX_PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    backend: str
    profile: str
    strategies: _containers.RepeatedCompositeFieldContainer[StrategyInfo]
    max_proposals: int
    context_tokens: int
    version: str
    def __init__(self, model: _Optional[str] = ..., backend: _Optional[str] = ..., profile: _Optional[str] = ..., strategies: _Optional[_Iterable[_Union[StrategyInfo, _Mapping]]] = ..., max_proposals: _Optional[int] = ..., context_tokens: _Optional[int] = ..., version: _Optional[str] = ...) -> None: ...
