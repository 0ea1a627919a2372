from mentorgrad.v1 import advice_pb2 as _advice_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AdviseRequest(_message.Message):
    __slots__ = ("open", "batch", "request", "outcomes")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    open: _advice_pb2.AdviseOpen
    batch: _advice_pb2.Batch
    request: _advice_pb2.ProposalRequest
    outcomes: _advice_pb2.Outcomes
    def __init__(self, open: _Optional[_Union[_advice_pb2.AdviseOpen, _Mapping]] = ..., batch: _Optional[_Union[_advice_pb2.Batch, _Mapping]] = ..., request: _Optional[_Union[_advice_pb2.ProposalRequest, _Mapping]] = ..., outcomes: _Optional[_Union[_advice_pb2.Outcomes, _Mapping]] = ...) -> None: ...

class AdviseResponse(_message.Message):
    __slots__ = ("accepted", "batch_acknowledged", "answer", "closing")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    BATCH_ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    accepted: _advice_pb2.Accepted
    batch_acknowledged: BatchAcknowledged
    answer: _advice_pb2.Answer
    closing: Closing
    def __init__(self, accepted: _Optional[_Union[_advice_pb2.Accepted, _Mapping]] = ..., batch_acknowledged: _Optional[_Union[BatchAcknowledged, _Mapping]] = ..., answer: _Optional[_Union[_advice_pb2.Answer, _Mapping]] = ..., closing: _Optional[_Union[Closing, _Mapping]] = ...) -> None: ...

class BatchAcknowledged(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class Closing(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class ProposeRequest(_message.Message):
    __slots__ = ("open", "batches", "request")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    open: _advice_pb2.AdviseOpen
    batches: _containers.RepeatedCompositeFieldContainer[_advice_pb2.Batch]
    request: _advice_pb2.ProposalRequest
    def __init__(self, open: _Optional[_Union[_advice_pb2.AdviseOpen, _Mapping]] = ..., batches: _Optional[_Iterable[_Union[_advice_pb2.Batch, _Mapping]]] = ..., request: _Optional[_Union[_advice_pb2.ProposalRequest, _Mapping]] = ...) -> None: ...

class ProposeResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: _advice_pb2.Answer
    def __init__(self, answer: _Optional[_Union[_advice_pb2.Answer, _Mapping]] = ...) -> None: ...

class GetMentorInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetMentorInfoResponse(_message.Message):
    __slots__ = ("info",)
    INFO_FIELD_NUMBER: _ClassVar[int]
    info: _advice_pb2.MentorInfo
    def __init__(self, info: _Optional[_Union[_advice_pb2.MentorInfo, _Mapping]] = ...) -> None: ...
