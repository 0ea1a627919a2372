from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Prediction(_message.Message):
    __slots__ = ("label", "label_index", "probabilities", "is_cut")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_INDEX_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    IS_CUT_FIELD_NUMBER: _ClassVar[int]
    label: str
    label_index: int
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    is_cut: bool
    def __init__(self, label: _Optional[str] = ..., label_index: _Optional[int] = ..., probabilities: _Optional[_Iterable[float]] = ..., is_cut: bool = ...) -> None: ...

class PredictorInfo(_message.Message):
    __slots__ = ("labels", "paired", "use", "objective", "model", "model_sha256", "model_revision", "result_sha256", "prior", "run_id", "columns", "version", "max_texts", "max_bytes", "label_values")
    class ColumnsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PAIRED_FIELD_NUMBER: _ClassVar[int]
    USE_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    RESULT_SHA256_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_TEXTS_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    LABEL_VALUES_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    paired: bool
    use: str
    objective: str
    model: str
    model_sha256: str
    model_revision: str
    result_sha256: str
    prior: _containers.RepeatedScalarFieldContainer[float]
    run_id: str
    columns: _containers.ScalarMap[str, str]
    version: str
    max_texts: int
    max_bytes: int
    label_values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., paired: bool = ..., use: _Optional[str] = ..., objective: _Optional[str] = ..., model: _Optional[str] = ..., model_sha256: _Optional[str] = ..., model_revision: _Optional[str] = ..., result_sha256: _Optional[str] = ..., prior: _Optional[_Iterable[float]] = ..., run_id: _Optional[str] = ..., columns: _Optional[_Mapping[str, str]] = ..., version: _Optional[str] = ..., max_texts: _Optional[int] = ..., max_bytes: _Optional[int] = ..., label_values: _Optional[_Iterable[str]] = ...) -> None: ...
