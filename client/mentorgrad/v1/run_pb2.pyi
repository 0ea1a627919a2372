from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Metric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_UNSPECIFIED: _ClassVar[Metric]
    METRIC_COSINE: _ClassVar[Metric]
    METRIC_L2: _ClassVar[Metric]
    METRIC_FARTHEST_COSINE: _ClassVar[Metric]

class Placement(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLACEMENT_UNSPECIFIED: _ClassVar[Placement]
    PLACEMENT_STRICT: _ClassVar[Placement]
    PLACEMENT_PADDED: _ClassVar[Placement]
    PLACEMENT_LAST: _ClassVar[Placement]
    PLACEMENT_REPEATED: _ClassVar[Placement]

class Readout(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    READOUT_UNSPECIFIED: _ClassVar[Readout]
    READOUT_CLS: _ClassVar[Readout]
    READOUT_FIRST: _ClassVar[Readout]
    READOUT_MEAN: _ClassVar[Readout]

class PromptPosition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROMPT_POSITION_UNSPECIFIED: _ClassVar[PromptPosition]
    PROMPT_POSITION_AFTER_TEXT: _ClassVar[PromptPosition]
    PROMPT_POSITION_BEFORE_TEXT: _ClassVar[PromptPosition]

class Calibration(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CALIBRATION_UNSPECIFIED: _ClassVar[Calibration]
    CALIBRATION_NONE: _ClassVar[Calibration]
    CALIBRATION_CONTENT_FREE: _ClassVar[Calibration]
    CALIBRATION_BATCH: _ClassVar[Calibration]
    CALIBRATION_MATCHED: _ClassVar[Calibration]

class LongTexts(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LONG_TEXTS_UNSPECIFIED: _ClassVar[LongTexts]
    LONG_TEXTS_TRUNCATE: _ClassVar[LongTexts]
    LONG_TEXTS_HEAD_TAIL: _ClassVar[LongTexts]
    LONG_TEXTS_ERROR: _ClassVar[LongTexts]

class ClassWeight(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLASS_WEIGHT_UNSPECIFIED: _ClassVar[ClassWeight]
    CLASS_WEIGHT_NONE: _ClassVar[ClassWeight]
    CLASS_WEIGHT_BALANCED: _ClassVar[ClassWeight]

class ModelDtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_DTYPE_UNSPECIFIED: _ClassVar[ModelDtype]
    MODEL_DTYPE_AUTO: _ClassVar[ModelDtype]
    MODEL_DTYPE_FLOAT32: _ClassVar[ModelDtype]
    MODEL_DTYPE_BFLOAT16: _ClassVar[ModelDtype]
    MODEL_DTYPE_FLOAT16: _ClassVar[ModelDtype]

class Schedule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCHEDULE_UNSPECIFIED: _ClassVar[Schedule]
    SCHEDULE_CONSTANT: _ClassVar[Schedule]
    SCHEDULE_LINEAR: _ClassVar[Schedule]
    SCHEDULE_COSINE: _ClassVar[Schedule]

class Fallback(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FALLBACK_UNSPECIFIED: _ClassVar[Fallback]
    FALLBACK_NONE: _ClassVar[Fallback]
    FALLBACK_RANDOM_TOKENS: _ClassVar[Fallback]

class MentorMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MENTOR_MODE_UNSPECIFIED: _ClassVar[MentorMode]
    MENTOR_MODE_BLOCKING: _ClassVar[MentorMode]
    MENTOR_MODE_OVERLAPPED: _ClassVar[MentorMode]

class Policy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POLICY_UNSPECIFIED: _ClassVar[Policy]
    POLICY_RACE: _ClassVar[Policy]
    POLICY_ALWAYS: _ClassVar[Policy]
    POLICY_EXPLORE: _ClassVar[Policy]
    POLICY_BEST_OF: _ClassVar[Policy]
    POLICY_FIRST: _ClassVar[Policy]

class Criterion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CRITERION_UNSPECIFIED: _ClassVar[Criterion]
    CRITERION_LOSS: _ClassVar[Criterion]
    CRITERION_ACCURACY: _ClassVar[Criterion]
    CRITERION_MACRO_F1: _ClassVar[Criterion]
    CRITERION_MATTHEWS: _ClassVar[Criterion]

class CaptureContent(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPTURE_CONTENT_UNSPECIFIED: _ClassVar[CaptureContent]
    CAPTURE_CONTENT_OFF: _ClassVar[CaptureContent]
    CAPTURE_CONTENT_TEXT: _ClassVar[CaptureContent]
    CAPTURE_CONTENT_TEXT_AND_PARAMETERS: _ClassVar[CaptureContent]

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    RUN_STATE_QUEUED: _ClassVar[RunState]
    RUN_STATE_RUNNING: _ClassVar[RunState]
    RUN_STATE_PAUSED: _ClassVar[RunState]
    RUN_STATE_SUCCEEDED: _ClassVar[RunState]
    RUN_STATE_FAILED: _ClassVar[RunState]
    RUN_STATE_CANCELLED: _ClassVar[RunState]
    RUN_STATE_INTERRUPTED: _ClassVar[RunState]

class CandidateSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CANDIDATE_SOURCE_UNSPECIFIED: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_SNAPSHOT: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_PROJECTION: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_PROPOSAL: _ClassVar[CandidateSource]
METRIC_UNSPECIFIED: Metric
METRIC_COSINE: Metric
METRIC_L2: Metric
METRIC_FARTHEST_COSINE: Metric
PLACEMENT_UNSPECIFIED: Placement
PLACEMENT_STRICT: Placement
PLACEMENT_PADDED: Placement
PLACEMENT_LAST: Placement
PLACEMENT_REPEATED: Placement
READOUT_UNSPECIFIED: Readout
READOUT_CLS: Readout
READOUT_FIRST: Readout
READOUT_MEAN: Readout
PROMPT_POSITION_UNSPECIFIED: PromptPosition
PROMPT_POSITION_AFTER_TEXT: PromptPosition
PROMPT_POSITION_BEFORE_TEXT: PromptPosition
CALIBRATION_UNSPECIFIED: Calibration
CALIBRATION_NONE: Calibration
CALIBRATION_CONTENT_FREE: Calibration
CALIBRATION_BATCH: Calibration
CALIBRATION_MATCHED: Calibration
LONG_TEXTS_UNSPECIFIED: LongTexts
LONG_TEXTS_TRUNCATE: LongTexts
LONG_TEXTS_HEAD_TAIL: LongTexts
LONG_TEXTS_ERROR: LongTexts
CLASS_WEIGHT_UNSPECIFIED: ClassWeight
CLASS_WEIGHT_NONE: ClassWeight
CLASS_WEIGHT_BALANCED: ClassWeight
MODEL_DTYPE_UNSPECIFIED: ModelDtype
MODEL_DTYPE_AUTO: ModelDtype
MODEL_DTYPE_FLOAT32: ModelDtype
MODEL_DTYPE_BFLOAT16: ModelDtype
MODEL_DTYPE_FLOAT16: ModelDtype
SCHEDULE_UNSPECIFIED: Schedule
SCHEDULE_CONSTANT: Schedule
SCHEDULE_LINEAR: Schedule
SCHEDULE_COSINE: Schedule
FALLBACK_UNSPECIFIED: Fallback
FALLBACK_NONE: Fallback
FALLBACK_RANDOM_TOKENS: Fallback
MENTOR_MODE_UNSPECIFIED: MentorMode
MENTOR_MODE_BLOCKING: MentorMode
MENTOR_MODE_OVERLAPPED: MentorMode
POLICY_UNSPECIFIED: Policy
POLICY_RACE: Policy
POLICY_ALWAYS: Policy
POLICY_EXPLORE: Policy
POLICY_BEST_OF: Policy
POLICY_FIRST: Policy
CRITERION_UNSPECIFIED: Criterion
CRITERION_LOSS: Criterion
CRITERION_ACCURACY: Criterion
CRITERION_MACRO_F1: Criterion
CRITERION_MATTHEWS: Criterion
CAPTURE_CONTENT_UNSPECIFIED: CaptureContent
CAPTURE_CONTENT_OFF: CaptureContent
CAPTURE_CONTENT_TEXT: CaptureContent
CAPTURE_CONTENT_TEXT_AND_PARAMETERS: CaptureContent
RUN_STATE_UNSPECIFIED: RunState
RUN_STATE_QUEUED: RunState
RUN_STATE_RUNNING: RunState
RUN_STATE_PAUSED: RunState
RUN_STATE_SUCCEEDED: RunState
RUN_STATE_FAILED: RunState
RUN_STATE_CANCELLED: RunState
RUN_STATE_INTERRUPTED: RunState
CANDIDATE_SOURCE_UNSPECIFIED: CandidateSource
CANDIDATE_SOURCE_SNAPSHOT: CandidateSource
CANDIDATE_SOURCE_PROJECTION: CandidateSource
CANDIDATE_SOURCE_PROPOSAL: CandidateSource

class Projection(_message.Message):
    __slots__ = ("metric", "whole_words", "first_id", "last_id", "pieces_apart", "placement")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    WHOLE_WORDS_FIELD_NUMBER: _ClassVar[int]
    FIRST_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_ID_FIELD_NUMBER: _ClassVar[int]
    PIECES_APART_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    metric: Metric
    whole_words: bool
    first_id: int
    last_id: int
    pieces_apart: bool
    placement: Placement
    def __init__(self, metric: _Optional[_Union[Metric, str]] = ..., whole_words: bool = ..., first_id: _Optional[int] = ..., last_id: _Optional[int] = ..., pieces_apart: bool = ..., placement: _Optional[_Union[Placement, str]] = ...) -> None: ...

class LabelPrompt(_message.Message):
    __slots__ = ("encoder", "n_tokens", "per_class", "initial_text", "temperature", "projection")
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    N_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PER_CLASS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_TEXT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    encoder: str
    n_tokens: int
    per_class: bool
    initial_text: str
    temperature: float
    projection: Projection
    def __init__(self, encoder: _Optional[str] = ..., n_tokens: _Optional[int] = ..., per_class: bool = ..., initial_text: _Optional[str] = ..., temperature: _Optional[float] = ..., projection: _Optional[_Union[Projection, _Mapping]] = ...) -> None: ...

class PromptTuning(_message.Message):
    __slots__ = ("encoder", "n_tokens", "readout", "max_length", "initial_text", "head_scale", "projection", "dtype", "checkpointing")
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    N_TOKENS_FIELD_NUMBER: _ClassVar[int]
    READOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    INITIAL_TEXT_FIELD_NUMBER: _ClassVar[int]
    HEAD_SCALE_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTING_FIELD_NUMBER: _ClassVar[int]
    encoder: str
    n_tokens: int
    readout: Readout
    max_length: int
    initial_text: str
    head_scale: float
    projection: Projection
    dtype: ModelDtype
    checkpointing: bool
    def __init__(self, encoder: _Optional[str] = ..., n_tokens: _Optional[int] = ..., readout: _Optional[_Union[Readout, str]] = ..., max_length: _Optional[int] = ..., initial_text: _Optional[str] = ..., head_scale: _Optional[float] = ..., projection: _Optional[_Union[Projection, _Mapping]] = ..., dtype: _Optional[_Union[ModelDtype, str]] = ..., checkpointing: bool = ...) -> None: ...

class MultipleChoice(_message.Message):
    __slots__ = ("encoder", "n_tokens", "readout", "max_length", "initial_text", "head_scale", "projection", "dtype", "checkpointing")
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    N_TOKENS_FIELD_NUMBER: _ClassVar[int]
    READOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    INITIAL_TEXT_FIELD_NUMBER: _ClassVar[int]
    HEAD_SCALE_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTING_FIELD_NUMBER: _ClassVar[int]
    encoder: str
    n_tokens: int
    readout: Readout
    max_length: int
    initial_text: str
    head_scale: float
    projection: Projection
    dtype: ModelDtype
    checkpointing: bool
    def __init__(self, encoder: _Optional[str] = ..., n_tokens: _Optional[int] = ..., readout: _Optional[_Union[Readout, str]] = ..., max_length: _Optional[int] = ..., initial_text: _Optional[str] = ..., head_scale: _Optional[float] = ..., projection: _Optional[_Union[Projection, _Mapping]] = ..., dtype: _Optional[_Union[ModelDtype, str]] = ..., checkpointing: bool = ...) -> None: ...

class CausalPrompt(_message.Message):
    __slots__ = ("model", "n_tokens", "position", "template", "chat_template", "demonstrations", "calibration", "dtype", "max_length", "initial_text", "projection")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    N_TOKENS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    CHAT_TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    DEMONSTRATIONS_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    INITIAL_TEXT_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    model: str
    n_tokens: int
    position: PromptPosition
    template: str
    chat_template: bool
    demonstrations: int
    calibration: Calibration
    dtype: ModelDtype
    max_length: int
    initial_text: str
    projection: Projection
    def __init__(self, model: _Optional[str] = ..., n_tokens: _Optional[int] = ..., position: _Optional[_Union[PromptPosition, str]] = ..., template: _Optional[str] = ..., chat_template: bool = ..., demonstrations: _Optional[int] = ..., calibration: _Optional[_Union[Calibration, str]] = ..., dtype: _Optional[_Union[ModelDtype, str]] = ..., max_length: _Optional[int] = ..., initial_text: _Optional[str] = ..., projection: _Optional[_Union[Projection, _Mapping]] = ...) -> None: ...

class ServedPrompt(_message.Message):
    __slots__ = ("model", "max_characters", "template", "demonstrations", "initial_text", "calibration")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MAX_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    DEMONSTRATIONS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_TEXT_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    model: str
    max_characters: int
    template: str
    demonstrations: int
    initial_text: str
    calibration: Calibration
    def __init__(self, model: _Optional[str] = ..., max_characters: _Optional[int] = ..., template: _Optional[str] = ..., demonstrations: _Optional[int] = ..., initial_text: _Optional[str] = ..., calibration: _Optional[_Union[Calibration, str]] = ...) -> None: ...

class Lora(_message.Message):
    __slots__ = ("encoder", "rank", "alpha", "target_modules", "readout", "max_length", "initial", "head_scale", "model", "template", "calibration", "dtype", "checkpointing")
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODULES_FIELD_NUMBER: _ClassVar[int]
    READOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FIELD_NUMBER: _ClassVar[int]
    HEAD_SCALE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTING_FIELD_NUMBER: _ClassVar[int]
    encoder: str
    rank: int
    alpha: float
    target_modules: _containers.RepeatedScalarFieldContainer[str]
    readout: Readout
    max_length: int
    initial: str
    head_scale: float
    model: str
    template: str
    calibration: Calibration
    dtype: ModelDtype
    checkpointing: bool
    def __init__(self, encoder: _Optional[str] = ..., rank: _Optional[int] = ..., alpha: _Optional[float] = ..., target_modules: _Optional[_Iterable[str]] = ..., readout: _Optional[_Union[Readout, str]] = ..., max_length: _Optional[int] = ..., initial: _Optional[str] = ..., head_scale: _Optional[float] = ..., model: _Optional[str] = ..., template: _Optional[str] = ..., calibration: _Optional[_Union[Calibration, str]] = ..., dtype: _Optional[_Union[ModelDtype, str]] = ..., checkpointing: bool = ...) -> None: ...

class PrefixTuning(_message.Message):
    __slots__ = ("encoder", "n_tokens", "readout", "max_length", "initial_text", "head_scale", "model", "template", "calibration", "dtype", "checkpointing")
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    N_TOKENS_FIELD_NUMBER: _ClassVar[int]
    READOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    INITIAL_TEXT_FIELD_NUMBER: _ClassVar[int]
    HEAD_SCALE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTING_FIELD_NUMBER: _ClassVar[int]
    encoder: str
    n_tokens: int
    readout: Readout
    max_length: int
    initial_text: str
    head_scale: float
    model: str
    template: str
    calibration: Calibration
    dtype: ModelDtype
    checkpointing: bool
    def __init__(self, encoder: _Optional[str] = ..., n_tokens: _Optional[int] = ..., readout: _Optional[_Union[Readout, str]] = ..., max_length: _Optional[int] = ..., initial_text: _Optional[str] = ..., head_scale: _Optional[float] = ..., model: _Optional[str] = ..., template: _Optional[str] = ..., calibration: _Optional[_Union[Calibration, str]] = ..., dtype: _Optional[_Union[ModelDtype, str]] = ..., checkpointing: bool = ...) -> None: ...

class Xgblora(_message.Message):
    __slots__ = ("encoder", "boosters", "booster_steps", "layers", "alpha", "target_modules", "readout", "max_length", "head_scale", "model", "template", "calibration", "dtype", "checkpointing")
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    BOOSTERS_FIELD_NUMBER: _ClassVar[int]
    BOOSTER_STEPS_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODULES_FIELD_NUMBER: _ClassVar[int]
    READOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    HEAD_SCALE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTING_FIELD_NUMBER: _ClassVar[int]
    encoder: str
    boosters: int
    booster_steps: int
    layers: int
    alpha: float
    target_modules: _containers.RepeatedScalarFieldContainer[str]
    readout: Readout
    max_length: int
    head_scale: float
    model: str
    template: str
    calibration: Calibration
    dtype: ModelDtype
    checkpointing: bool
    def __init__(self, encoder: _Optional[str] = ..., boosters: _Optional[int] = ..., booster_steps: _Optional[int] = ..., layers: _Optional[int] = ..., alpha: _Optional[float] = ..., target_modules: _Optional[_Iterable[str]] = ..., readout: _Optional[_Union[Readout, str]] = ..., max_length: _Optional[int] = ..., head_scale: _Optional[float] = ..., model: _Optional[str] = ..., template: _Optional[str] = ..., calibration: _Optional[_Union[Calibration, str]] = ..., dtype: _Optional[_Union[ModelDtype, str]] = ..., checkpointing: bool = ...) -> None: ...

class Function(_message.Message):
    __slots__ = ("name", "dimensions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    dimensions: int
    def __init__(self, name: _Optional[str] = ..., dimensions: _Optional[int] = ...) -> None: ...

class External(_message.Message):
    __slots__ = ("name", "description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class DataFiles(_message.Message):
    __slots__ = ("train", "selection", "test", "text_field", "pair_field", "label_field", "image_field", "choice_fields")
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELDS_FIELD_NUMBER: _ClassVar[int]
    train: str
    selection: str
    test: str
    text_field: str
    pair_field: str
    label_field: str
    image_field: str
    choice_fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, train: _Optional[str] = ..., selection: _Optional[str] = ..., test: _Optional[str] = ..., text_field: _Optional[str] = ..., pair_field: _Optional[str] = ..., label_field: _Optional[str] = ..., image_field: _Optional[str] = ..., choice_fields: _Optional[_Iterable[str]] = ...) -> None: ...

class HubData(_message.Message):
    __slots__ = ("text_field", "pair_field", "template", "label_field", "train", "selection", "test", "choice_fields")
    TEXT_FIELD_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELDS_FIELD_NUMBER: _ClassVar[int]
    text_field: str
    pair_field: str
    template: str
    label_field: str
    train: str
    selection: str
    test: str
    choice_fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, text_field: _Optional[str] = ..., pair_field: _Optional[str] = ..., template: _Optional[str] = ..., label_field: _Optional[str] = ..., train: _Optional[str] = ..., selection: _Optional[str] = ..., test: _Optional[str] = ..., choice_fields: _Optional[_Iterable[str]] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("name", "data", "description", "labels", "shots", "selection_rows", "hub", "label_values", "long_texts", "class_weight", "test_rows")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SHOTS_FIELD_NUMBER: _ClassVar[int]
    SELECTION_ROWS_FIELD_NUMBER: _ClassVar[int]
    HUB_FIELD_NUMBER: _ClassVar[int]
    LABEL_VALUES_FIELD_NUMBER: _ClassVar[int]
    LONG_TEXTS_FIELD_NUMBER: _ClassVar[int]
    CLASS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    TEST_ROWS_FIELD_NUMBER: _ClassVar[int]
    name: str
    data: DataFiles
    description: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    shots: int
    selection_rows: int
    hub: HubData
    label_values: _containers.RepeatedScalarFieldContainer[str]
    long_texts: LongTexts
    class_weight: ClassWeight
    test_rows: int
    def __init__(self, name: _Optional[str] = ..., data: _Optional[_Union[DataFiles, _Mapping]] = ..., description: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., shots: _Optional[int] = ..., selection_rows: _Optional[int] = ..., hub: _Optional[_Union[HubData, _Mapping]] = ..., label_values: _Optional[_Iterable[str]] = ..., long_texts: _Optional[_Union[LongTexts, str]] = ..., class_weight: _Optional[_Union[ClassWeight, str]] = ..., test_rows: _Optional[int] = ...) -> None: ...

class Optimizer(_message.Message):
    __slots__ = ("name", "learning_rate", "weight_decay", "momentum", "batch_size", "schedule", "warmup_steps", "clip_norm", "perturbation", "directions", "subspace", "accumulation", "automatic_batch_size")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_STEPS_FIELD_NUMBER: _ClassVar[int]
    CLIP_NORM_FIELD_NUMBER: _ClassVar[int]
    PERTURBATION_FIELD_NUMBER: _ClassVar[int]
    DIRECTIONS_FIELD_NUMBER: _ClassVar[int]
    SUBSPACE_FIELD_NUMBER: _ClassVar[int]
    ACCUMULATION_FIELD_NUMBER: _ClassVar[int]
    AUTOMATIC_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    name: str
    learning_rate: float
    weight_decay: float
    momentum: float
    batch_size: int
    schedule: Schedule
    warmup_steps: int
    clip_norm: float
    perturbation: float
    directions: int
    subspace: int
    accumulation: int
    automatic_batch_size: bool
    def __init__(self, name: _Optional[str] = ..., learning_rate: _Optional[float] = ..., weight_decay: _Optional[float] = ..., momentum: _Optional[float] = ..., batch_size: _Optional[int] = ..., schedule: _Optional[_Union[Schedule, str]] = ..., warmup_steps: _Optional[int] = ..., clip_norm: _Optional[float] = ..., perturbation: _Optional[float] = ..., directions: _Optional[int] = ..., subspace: _Optional[int] = ..., accumulation: _Optional[int] = ..., automatic_batch_size: bool = ...) -> None: ...

class Stages(_message.Message):
    __slots__ = ("count", "steps", "candidates", "first_steps", "stride")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    FIRST_STEPS_FIELD_NUMBER: _ClassVar[int]
    STRIDE_FIELD_NUMBER: _ClassVar[int]
    count: int
    steps: int
    candidates: int
    first_steps: int
    stride: int
    def __init__(self, count: _Optional[int] = ..., steps: _Optional[int] = ..., candidates: _Optional[int] = ..., first_steps: _Optional[int] = ..., stride: _Optional[int] = ...) -> None: ...

class MentorChoice(_message.Message):
    __slots__ = ("name", "strategy", "options", "proposals", "required", "fallback", "timeout", "mode", "shuffled", "hide_card", "exemplars", "hint_tokens", "description_first")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    SHUFFLED_FIELD_NUMBER: _ClassVar[int]
    HIDE_CARD_FIELD_NUMBER: _ClassVar[int]
    EXEMPLARS_FIELD_NUMBER: _ClassVar[int]
    HINT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIRST_FIELD_NUMBER: _ClassVar[int]
    name: str
    strategy: str
    options: _struct_pb2.Struct
    proposals: int
    required: bool
    fallback: Fallback
    timeout: _duration_pb2.Duration
    mode: MentorMode
    shuffled: bool
    hide_card: bool
    exemplars: int
    hint_tokens: int
    description_first: bool
    def __init__(self, name: _Optional[str] = ..., strategy: _Optional[str] = ..., options: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., proposals: _Optional[int] = ..., required: bool = ..., fallback: _Optional[_Union[Fallback, str]] = ..., timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., mode: _Optional[_Union[MentorMode, str]] = ..., shuffled: bool = ..., hide_card: bool = ..., exemplars: _Optional[int] = ..., hint_tokens: _Optional[int] = ..., description_first: bool = ...) -> None: ...

class Acceptance(_message.Message):
    __slots__ = ("policy", "finalists", "probe_steps", "temperature", "blend", "keep_moments", "probe_scores", "screening_rounds", "first")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    FINALISTS_FIELD_NUMBER: _ClassVar[int]
    PROBE_STEPS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    KEEP_MOMENTS_FIELD_NUMBER: _ClassVar[int]
    PROBE_SCORES_FIELD_NUMBER: _ClassVar[int]
    SCREENING_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    policy: Policy
    finalists: int
    probe_steps: int
    temperature: float
    blend: float
    keep_moments: bool
    probe_scores: int
    screening_rounds: int
    first: Policy
    def __init__(self, policy: _Optional[_Union[Policy, str]] = ..., finalists: _Optional[int] = ..., probe_steps: _Optional[int] = ..., temperature: _Optional[float] = ..., blend: _Optional[float] = ..., keep_moments: bool = ..., probe_scores: _Optional[int] = ..., screening_rounds: _Optional[int] = ..., first: _Optional[_Union[Policy, str]] = ...) -> None: ...

class Capture(_message.Message):
    __slots__ = ("content", "every")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    EVERY_FIELD_NUMBER: _ClassVar[int]
    content: CaptureContent
    every: int
    def __init__(self, content: _Optional[_Union[CaptureContent, str]] = ..., every: _Optional[int] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("gradient_steps", "evaluations", "forward_rows")
    GRADIENT_STEPS_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    FORWARD_ROWS_FIELD_NUMBER: _ClassVar[int]
    gradient_steps: int
    evaluations: int
    forward_rows: int
    def __init__(self, gradient_steps: _Optional[int] = ..., evaluations: _Optional[int] = ..., forward_rows: _Optional[int] = ...) -> None: ...

class Objective(_message.Message):
    __slots__ = ("label_prompt", "function", "external", "prompt_tuning", "causal_prompt", "served_prompt", "lora", "prefix_tuning", "xgblora", "multiple_choice")
    LABEL_PROMPT_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TUNING_FIELD_NUMBER: _ClassVar[int]
    CAUSAL_PROMPT_FIELD_NUMBER: _ClassVar[int]
    SERVED_PROMPT_FIELD_NUMBER: _ClassVar[int]
    LORA_FIELD_NUMBER: _ClassVar[int]
    PREFIX_TUNING_FIELD_NUMBER: _ClassVar[int]
    XGBLORA_FIELD_NUMBER: _ClassVar[int]
    MULTIPLE_CHOICE_FIELD_NUMBER: _ClassVar[int]
    label_prompt: LabelPrompt
    function: Function
    external: External
    prompt_tuning: PromptTuning
    causal_prompt: CausalPrompt
    served_prompt: ServedPrompt
    lora: Lora
    prefix_tuning: PrefixTuning
    xgblora: Xgblora
    multiple_choice: MultipleChoice
    def __init__(self, label_prompt: _Optional[_Union[LabelPrompt, _Mapping]] = ..., function: _Optional[_Union[Function, _Mapping]] = ..., external: _Optional[_Union[External, _Mapping]] = ..., prompt_tuning: _Optional[_Union[PromptTuning, _Mapping]] = ..., causal_prompt: _Optional[_Union[CausalPrompt, _Mapping]] = ..., served_prompt: _Optional[_Union[ServedPrompt, _Mapping]] = ..., lora: _Optional[_Union[Lora, _Mapping]] = ..., prefix_tuning: _Optional[_Union[PrefixTuning, _Mapping]] = ..., xgblora: _Optional[_Union[Xgblora, _Mapping]] = ..., multiple_choice: _Optional[_Union[MultipleChoice, _Mapping]] = ...) -> None: ...

class RunSpec(_message.Message):
    __slots__ = ("objective", "task", "optimizer", "stages", "mentor", "acceptance", "capture", "budget", "seed", "checkpoint_interval", "name", "labels", "criterion", "devices", "requires", "webhooks")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class RequiresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    MENTOR_FIELD_NUMBER: _ClassVar[int]
    ACCEPTANCE_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CRITERION_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    REQUIRES_FIELD_NUMBER: _ClassVar[int]
    WEBHOOKS_FIELD_NUMBER: _ClassVar[int]
    objective: Objective
    task: Task
    optimizer: Optimizer
    stages: Stages
    mentor: MentorChoice
    acceptance: Acceptance
    capture: Capture
    budget: Budget
    seed: int
    checkpoint_interval: _duration_pb2.Duration
    name: str
    labels: _containers.ScalarMap[str, str]
    criterion: Criterion
    devices: int
    requires: _containers.ScalarMap[str, str]
    webhooks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, objective: _Optional[_Union[Objective, _Mapping]] = ..., task: _Optional[_Union[Task, _Mapping]] = ..., optimizer: _Optional[_Union[Optimizer, _Mapping]] = ..., stages: _Optional[_Union[Stages, _Mapping]] = ..., mentor: _Optional[_Union[MentorChoice, _Mapping]] = ..., acceptance: _Optional[_Union[Acceptance, _Mapping]] = ..., capture: _Optional[_Union[Capture, _Mapping]] = ..., budget: _Optional[_Union[Budget, _Mapping]] = ..., seed: _Optional[int] = ..., checkpoint_interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., criterion: _Optional[_Union[Criterion, str]] = ..., devices: _Optional[int] = ..., requires: _Optional[_Mapping[str, str]] = ..., webhooks: _Optional[_Iterable[str]] = ...) -> None: ...

class Score(_message.Message):
    __slots__ = ("loss", "accuracy", "rows", "macro_f1", "matthews", "raw_loss", "raw_accuracy", "prior")
    LOSS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MACRO_F1_FIELD_NUMBER: _ClassVar[int]
    MATTHEWS_FIELD_NUMBER: _ClassVar[int]
    RAW_LOSS_FIELD_NUMBER: _ClassVar[int]
    RAW_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    loss: float
    accuracy: float
    rows: int
    macro_f1: float
    matthews: float
    raw_loss: float
    raw_accuracy: float
    prior: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, loss: _Optional[float] = ..., accuracy: _Optional[float] = ..., rows: _Optional[int] = ..., macro_f1: _Optional[float] = ..., matthews: _Optional[float] = ..., raw_loss: _Optional[float] = ..., raw_accuracy: _Optional[float] = ..., prior: _Optional[_Iterable[float]] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("candidate_id", "source", "stage", "step", "text", "toward_text", "positions_changed", "projection_distance", "filled", "parents", "score", "settings", "probe_loss")
    CANDIDATE_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOWARD_TEXT_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    FILLED_FIELD_NUMBER: _ClassVar[int]
    PARENTS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    PROBE_LOSS_FIELD_NUMBER: _ClassVar[int]
    candidate_id: str
    source: CandidateSource
    stage: int
    step: int
    text: str
    toward_text: str
    positions_changed: int
    projection_distance: float
    filled: _containers.RepeatedScalarFieldContainer[int]
    parents: _containers.RepeatedScalarFieldContainer[str]
    score: Score
    settings: _struct_pb2.Struct
    probe_loss: float
    def __init__(self, candidate_id: _Optional[str] = ..., source: _Optional[_Union[CandidateSource, str]] = ..., stage: _Optional[int] = ..., step: _Optional[int] = ..., text: _Optional[str] = ..., toward_text: _Optional[str] = ..., positions_changed: _Optional[int] = ..., projection_distance: _Optional[float] = ..., filled: _Optional[_Iterable[int]] = ..., parents: _Optional[_Iterable[str]] = ..., score: _Optional[_Union[Score, _Mapping]] = ..., settings: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., probe_loss: _Optional[float] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("gradient_steps", "probe_steps", "evaluations", "mentor_calls", "usable_answers", "fallbacks", "prompt_tokens", "reply_tokens", "mentor_time", "train_time", "lag_steps", "hint_steps", "forward_rows", "exemplar_rows", "tuned_model_tokens")
    GRADIENT_STEPS_FIELD_NUMBER: _ClassVar[int]
    PROBE_STEPS_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    MENTOR_CALLS_FIELD_NUMBER: _ClassVar[int]
    USABLE_ANSWERS_FIELD_NUMBER: _ClassVar[int]
    FALLBACKS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REPLY_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MENTOR_TIME_FIELD_NUMBER: _ClassVar[int]
    TRAIN_TIME_FIELD_NUMBER: _ClassVar[int]
    LAG_STEPS_FIELD_NUMBER: _ClassVar[int]
    HINT_STEPS_FIELD_NUMBER: _ClassVar[int]
    FORWARD_ROWS_FIELD_NUMBER: _ClassVar[int]
    EXEMPLAR_ROWS_FIELD_NUMBER: _ClassVar[int]
    TUNED_MODEL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    gradient_steps: int
    probe_steps: int
    evaluations: int
    mentor_calls: int
    usable_answers: int
    fallbacks: int
    prompt_tokens: int
    reply_tokens: int
    mentor_time: _duration_pb2.Duration
    train_time: _duration_pb2.Duration
    lag_steps: int
    hint_steps: int
    forward_rows: int
    exemplar_rows: int
    tuned_model_tokens: int
    def __init__(self, gradient_steps: _Optional[int] = ..., probe_steps: _Optional[int] = ..., evaluations: _Optional[int] = ..., mentor_calls: _Optional[int] = ..., usable_answers: _Optional[int] = ..., fallbacks: _Optional[int] = ..., prompt_tokens: _Optional[int] = ..., reply_tokens: _Optional[int] = ..., mentor_time: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., train_time: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., lag_steps: _Optional[int] = ..., hint_steps: _Optional[int] = ..., forward_rows: _Optional[int] = ..., exemplar_rows: _Optional[int] = ..., tuned_model_tokens: _Optional[int] = ...) -> None: ...

class Baseline(_message.Message):
    __slots__ = ("name", "test", "labelled_rows", "detail")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    LABELLED_ROWS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    test: Score
    labelled_rows: int
    detail: str
    def __init__(self, name: _Optional[str] = ..., test: _Optional[_Union[Score, _Mapping]] = ..., labelled_rows: _Optional[int] = ..., detail: _Optional[str] = ...) -> None: ...

class LabelScore(_message.Message):
    __slots__ = ("label", "rows", "predicted", "precision", "recall", "f1", "guesses")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    F1_FIELD_NUMBER: _ClassVar[int]
    GUESSES_FIELD_NUMBER: _ClassVar[int]
    label: str
    rows: int
    predicted: int
    precision: float
    recall: float
    f1: float
    guesses: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, label: _Optional[str] = ..., rows: _Optional[int] = ..., predicted: _Optional[int] = ..., precision: _Optional[float] = ..., recall: _Optional[float] = ..., f1: _Optional[float] = ..., guesses: _Optional[_Iterable[int]] = ...) -> None: ...

class RunResult(_message.Message):
    __slots__ = ("returned", "test", "zero_shot", "majority_accuracy", "restarts_applied", "usage", "baselines", "rows_at_once")
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    ZERO_SHOT_FIELD_NUMBER: _ClassVar[int]
    MAJORITY_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_APPLIED_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    BASELINES_FIELD_NUMBER: _ClassVar[int]
    ROWS_AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    returned: Candidate
    test: Score
    zero_shot: Score
    majority_accuracy: float
    restarts_applied: int
    usage: Usage
    baselines: _containers.RepeatedCompositeFieldContainer[Baseline]
    rows_at_once: int
    def __init__(self, returned: _Optional[_Union[Candidate, _Mapping]] = ..., test: _Optional[_Union[Score, _Mapping]] = ..., zero_shot: _Optional[_Union[Score, _Mapping]] = ..., majority_accuracy: _Optional[float] = ..., restarts_applied: _Optional[int] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., baselines: _Optional[_Iterable[_Union[Baseline, _Mapping]]] = ..., rows_at_once: _Optional[int] = ...) -> None: ...

class LossLine(_message.Message):
    __slots__ = ("steps", "losses")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedScalarFieldContainer[int]
    losses: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, steps: _Optional[_Iterable[int]] = ..., losses: _Optional[_Iterable[float]] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("run_id", "request_id", "spec", "state", "created_at", "started_at", "finished_at", "attempt", "last_seq", "stage", "step", "train_loss", "best_selection_loss", "restarts_applied", "usage", "versions", "result", "reason", "owner", "project", "labels", "note", "raw_dropped_at", "loss_line")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TRAIN_LOSS_FIELD_NUMBER: _ClassVar[int]
    BEST_SELECTION_LOSS_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_APPLIED_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    RAW_DROPPED_AT_FIELD_NUMBER: _ClassVar[int]
    LOSS_LINE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    request_id: str
    spec: RunSpec
    state: RunState
    created_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    attempt: int
    last_seq: int
    stage: int
    step: int
    train_loss: float
    best_selection_loss: float
    restarts_applied: int
    usage: Usage
    versions: _containers.ScalarMap[str, str]
    result: RunResult
    reason: str
    owner: str
    project: str
    labels: _containers.ScalarMap[str, str]
    note: str
    raw_dropped_at: _timestamp_pb2.Timestamp
    loss_line: LossLine
    def __init__(self, run_id: _Optional[str] = ..., request_id: _Optional[str] = ..., spec: _Optional[_Union[RunSpec, _Mapping]] = ..., state: _Optional[_Union[RunState, str]] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., attempt: _Optional[int] = ..., last_seq: _Optional[int] = ..., stage: _Optional[int] = ..., step: _Optional[int] = ..., train_loss: _Optional[float] = ..., best_selection_loss: _Optional[float] = ..., restarts_applied: _Optional[int] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., versions: _Optional[_Mapping[str, str]] = ..., result: _Optional[_Union[RunResult, _Mapping]] = ..., reason: _Optional[str] = ..., owner: _Optional[str] = ..., project: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., note: _Optional[str] = ..., raw_dropped_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., loss_line: _Optional[_Union[LossLine, _Mapping]] = ...) -> None: ...

class RunAnnotation(_message.Message):
    __slots__ = ("labels", "note")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.ScalarMap[str, str]
    note: str
    def __init__(self, labels: _Optional[_Mapping[str, str]] = ..., note: _Optional[str] = ...) -> None: ...

class RunUpdate(_message.Message):
    __slots__ = ("labels", "remove_labels", "note")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_LABELS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.ScalarMap[str, str]
    remove_labels: _containers.RepeatedScalarFieldContainer[str]
    note: str
    def __init__(self, labels: _Optional[_Mapping[str, str]] = ..., remove_labels: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("step", "train_loss", "learning_rate", "gradient_norm", "text", "positions_changed")
    STEP_FIELD_NUMBER: _ClassVar[int]
    TRAIN_LOSS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_NORM_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    step: int
    train_loss: float
    learning_rate: float
    gradient_norm: float
    text: str
    positions_changed: int
    def __init__(self, step: _Optional[int] = ..., train_loss: _Optional[float] = ..., learning_rate: _Optional[float] = ..., gradient_norm: _Optional[float] = ..., text: _Optional[str] = ..., positions_changed: _Optional[int] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("name", "size_bytes", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    sha256: str
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...
