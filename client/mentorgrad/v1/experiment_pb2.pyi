from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from mentorgrad.v1 import run_pb2 as _run_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExperimentState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPERIMENT_STATE_UNSPECIFIED: _ClassVar[ExperimentState]
    EXPERIMENT_STATE_RUNNING: _ClassVar[ExperimentState]
    EXPERIMENT_STATE_FINISHED: _ClassVar[ExperimentState]
    EXPERIMENT_STATE_CANCELLED: _ClassVar[ExperimentState]
    EXPERIMENT_STATE_FAILED: _ClassVar[ExperimentState]

class Figure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FIGURE_UNSPECIFIED: _ClassVar[Figure]
    FIGURE_TEST_LOSS: _ClassVar[Figure]
    FIGURE_TEST_ACCURACY: _ClassVar[Figure]
    FIGURE_SELECTION_LOSS: _ClassVar[Figure]
EXPERIMENT_STATE_UNSPECIFIED: ExperimentState
EXPERIMENT_STATE_RUNNING: ExperimentState
EXPERIMENT_STATE_FINISHED: ExperimentState
EXPERIMENT_STATE_CANCELLED: ExperimentState
EXPERIMENT_STATE_FAILED: ExperimentState
FIGURE_UNSPECIFIED: Figure
FIGURE_TEST_LOSS: Figure
FIGURE_TEST_ACCURACY: Figure
FIGURE_SELECTION_LOSS: Figure

class Arm(_message.Message):
    __slots__ = ("name", "mentor", "changes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MENTOR_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    name: str
    mentor: _run_pb2.MentorChoice
    changes: _struct_pb2.Struct
    def __init__(self, name: _Optional[str] = ..., mentor: _Optional[_Union[_run_pb2.MentorChoice, _Mapping]] = ..., changes: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class Variation(_message.Message):
    __slots__ = ("name", "changes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    name: str
    changes: _struct_pb2.Struct
    def __init__(self, name: _Optional[str] = ..., changes: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class Tuning(_message.Message):
    __slots__ = ("learning_rates", "task", "seeds")
    LEARNING_RATES_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    learning_rates: _containers.RepeatedScalarFieldContainer[float]
    task: _run_pb2.Task
    seeds: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, learning_rates: _Optional[_Iterable[float]] = ..., task: _Optional[_Union[_run_pb2.Task, _Mapping]] = ..., seeds: _Optional[_Iterable[int]] = ...) -> None: ...

class ExperimentSpec(_message.Message):
    __slots__ = ("name", "description", "base", "tasks", "variations", "arms", "seeds", "subject", "tuning", "parallel")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    VARIATIONS_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    TUNING_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    base: _run_pb2.RunSpec
    tasks: _containers.RepeatedCompositeFieldContainer[_run_pb2.Task]
    variations: _containers.RepeatedCompositeFieldContainer[Variation]
    arms: _containers.RepeatedCompositeFieldContainer[Arm]
    seeds: _containers.RepeatedScalarFieldContainer[int]
    subject: str
    tuning: Tuning
    parallel: int
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., base: _Optional[_Union[_run_pb2.RunSpec, _Mapping]] = ..., tasks: _Optional[_Iterable[_Union[_run_pb2.Task, _Mapping]]] = ..., variations: _Optional[_Iterable[_Union[Variation, _Mapping]]] = ..., arms: _Optional[_Iterable[_Union[Arm, _Mapping]]] = ..., seeds: _Optional[_Iterable[int]] = ..., subject: _Optional[str] = ..., tuning: _Optional[_Union[Tuning, _Mapping]] = ..., parallel: _Optional[int] = ...) -> None: ...

class ExperimentProgress(_message.Message):
    __slots__ = ("total", "waiting", "running", "succeeded", "failed", "tuning", "time_left")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    TUNING_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_FIELD_NUMBER: _ClassVar[int]
    total: int
    waiting: int
    running: int
    succeeded: int
    failed: int
    tuning: bool
    time_left: _duration_pb2.Duration
    def __init__(self, total: _Optional[int] = ..., waiting: _Optional[int] = ..., running: _Optional[int] = ..., succeeded: _Optional[int] = ..., failed: _Optional[int] = ..., tuning: bool = ..., time_left: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Experiment(_message.Message):
    __slots__ = ("experiment_id", "request_id", "spec", "state", "created_at", "finished_at", "progress", "reason", "owner", "project")
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    experiment_id: str
    request_id: str
    spec: ExperimentSpec
    state: ExperimentState
    created_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    progress: ExperimentProgress
    reason: str
    owner: str
    project: str
    def __init__(self, experiment_id: _Optional[str] = ..., request_id: _Optional[str] = ..., spec: _Optional[_Union[ExperimentSpec, _Mapping]] = ..., state: _Optional[_Union[ExperimentState, str]] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., progress: _Optional[_Union[ExperimentProgress, _Mapping]] = ..., reason: _Optional[str] = ..., owner: _Optional[str] = ..., project: _Optional[str] = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("mean", "low", "high", "count")
    MEAN_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    mean: float
    low: float
    high: float
    count: int
    def __init__(self, mean: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., count: _Optional[int] = ...) -> None: ...

class ArmReport(_message.Message):
    __slots__ = ("arm", "uses_llm", "shuffled", "learning_rate", "runs", "failed", "test_loss", "test_accuracy", "selection_loss", "gradient_steps", "evaluations", "restarts", "mentor_calls", "tokens", "seconds", "idle_share", "fallback_share", "changes", "forward_rows")
    ARM_FIELD_NUMBER: _ClassVar[int]
    USES_LLM_FIELD_NUMBER: _ClassVar[int]
    SHUFFLED_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    TEST_LOSS_FIELD_NUMBER: _ClassVar[int]
    TEST_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    SELECTION_LOSS_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_STEPS_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    MENTOR_CALLS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    IDLE_SHARE_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_SHARE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    FORWARD_ROWS_FIELD_NUMBER: _ClassVar[int]
    arm: str
    uses_llm: bool
    shuffled: bool
    learning_rate: float
    runs: int
    failed: int
    test_loss: Estimate
    test_accuracy: Estimate
    selection_loss: Estimate
    gradient_steps: float
    evaluations: float
    restarts: float
    mentor_calls: float
    tokens: float
    seconds: float
    idle_share: float
    fallback_share: float
    changes: str
    forward_rows: float
    def __init__(self, arm: _Optional[str] = ..., uses_llm: bool = ..., shuffled: bool = ..., learning_rate: _Optional[float] = ..., runs: _Optional[int] = ..., failed: _Optional[int] = ..., test_loss: _Optional[_Union[Estimate, _Mapping]] = ..., test_accuracy: _Optional[_Union[Estimate, _Mapping]] = ..., selection_loss: _Optional[_Union[Estimate, _Mapping]] = ..., gradient_steps: _Optional[float] = ..., evaluations: _Optional[float] = ..., restarts: _Optional[float] = ..., mentor_calls: _Optional[float] = ..., tokens: _Optional[float] = ..., seconds: _Optional[float] = ..., idle_share: _Optional[float] = ..., fallback_share: _Optional[float] = ..., changes: _Optional[str] = ..., forward_rows: _Optional[float] = ...) -> None: ...

class Comparison(_message.Message):
    __slots__ = ("other", "figure", "task", "variation", "difference", "win_rate")
    OTHER_FIELD_NUMBER: _ClassVar[int]
    FIGURE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    VARIATION_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    WIN_RATE_FIELD_NUMBER: _ClassVar[int]
    other: str
    figure: Figure
    task: str
    variation: str
    difference: Estimate
    win_rate: float
    def __init__(self, other: _Optional[str] = ..., figure: _Optional[_Union[Figure, str]] = ..., task: _Optional[str] = ..., variation: _Optional[str] = ..., difference: _Optional[_Union[Estimate, _Mapping]] = ..., win_rate: _Optional[float] = ...) -> None: ...

class Health(_message.Message):
    __slots__ = ("task", "variation", "arm", "accuracy", "majority_accuracy", "zero_shot_accuracy", "healthy")
    TASK_FIELD_NUMBER: _ClassVar[int]
    VARIATION_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    MAJORITY_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    ZERO_SHOT_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    task: str
    variation: str
    arm: str
    accuracy: float
    majority_accuracy: float
    zero_shot_accuracy: float
    healthy: bool
    def __init__(self, task: _Optional[str] = ..., variation: _Optional[str] = ..., arm: _Optional[str] = ..., accuracy: _Optional[float] = ..., majority_accuracy: _Optional[float] = ..., zero_shot_accuracy: _Optional[float] = ..., healthy: bool = ...) -> None: ...

class BaselineReport(_message.Message):
    __slots__ = ("baseline", "task", "variation", "test_loss", "test_accuracy")
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    VARIATION_FIELD_NUMBER: _ClassVar[int]
    TEST_LOSS_FIELD_NUMBER: _ClassVar[int]
    TEST_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    baseline: str
    task: str
    variation: str
    test_loss: Estimate
    test_accuracy: Estimate
    def __init__(self, baseline: _Optional[str] = ..., task: _Optional[str] = ..., variation: _Optional[str] = ..., test_loss: _Optional[_Union[Estimate, _Mapping]] = ..., test_accuracy: _Optional[_Union[Estimate, _Mapping]] = ...) -> None: ...

class Cell(_message.Message):
    __slots__ = ("run_id", "arm", "task", "variation", "seed", "test_loss", "test_accuracy", "selection_loss", "state", "reason")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    VARIATION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TEST_LOSS_FIELD_NUMBER: _ClassVar[int]
    TEST_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    SELECTION_LOSS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    arm: str
    task: str
    variation: str
    seed: int
    test_loss: float
    test_accuracy: float
    selection_loss: float
    state: _run_pb2.RunState
    reason: str
    def __init__(self, run_id: _Optional[str] = ..., arm: _Optional[str] = ..., task: _Optional[str] = ..., variation: _Optional[str] = ..., seed: _Optional[int] = ..., test_loss: _Optional[float] = ..., test_accuracy: _Optional[float] = ..., selection_loss: _Optional[float] = ..., state: _Optional[_Union[_run_pb2.RunState, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("experiment_id", "name", "description", "complete", "subject", "strongest_control", "verdict", "arms", "comparisons", "health", "cells", "gradient_steps_limit", "evaluations_limit", "versions", "baselines", "forward_rows_limit")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    STRONGEST_CONTROL_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    COMPARISONS_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_STEPS_LIMIT_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_LIMIT_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    BASELINES_FIELD_NUMBER: _ClassVar[int]
    FORWARD_ROWS_LIMIT_FIELD_NUMBER: _ClassVar[int]
    experiment_id: str
    name: str
    description: str
    complete: bool
    subject: str
    strongest_control: str
    verdict: str
    arms: _containers.RepeatedCompositeFieldContainer[ArmReport]
    comparisons: _containers.RepeatedCompositeFieldContainer[Comparison]
    health: _containers.RepeatedCompositeFieldContainer[Health]
    cells: _containers.RepeatedCompositeFieldContainer[Cell]
    gradient_steps_limit: int
    evaluations_limit: int
    versions: _containers.ScalarMap[str, str]
    baselines: _containers.RepeatedCompositeFieldContainer[BaselineReport]
    forward_rows_limit: int
    def __init__(self, experiment_id: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., complete: bool = ..., subject: _Optional[str] = ..., strongest_control: _Optional[str] = ..., verdict: _Optional[str] = ..., arms: _Optional[_Iterable[_Union[ArmReport, _Mapping]]] = ..., comparisons: _Optional[_Iterable[_Union[Comparison, _Mapping]]] = ..., health: _Optional[_Iterable[_Union[Health, _Mapping]]] = ..., cells: _Optional[_Iterable[_Union[Cell, _Mapping]]] = ..., gradient_steps_limit: _Optional[int] = ..., evaluations_limit: _Optional[int] = ..., versions: _Optional[_Mapping[str, str]] = ..., baselines: _Optional[_Iterable[_Union[BaselineReport, _Mapping]]] = ..., forward_rows_limit: _Optional[int] = ...) -> None: ...
