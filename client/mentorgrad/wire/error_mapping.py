"""Mapping between the domain's errors and gRPC status, in both directions."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from mentorgrad import errors
from mentorgrad.errors import MentorgradError, Violation

DOMAIN = "mentorgrad"
"""The `domain` of every ErrorInfo."""

OTHER_SERVICE = "OTHER_SERVICE"
"""Reason of an `Unsupported` where something answers that is not the service that was called."""

CODES: dict[type[MentorgradError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.PreconditionFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.InternalError: grpc.StatusCode.INTERNAL,
}
"""Error class → status code. A subclass takes its nearest listed base's."""

_CLASSES = {code: cls for cls, code in CODES.items()}
_MAX_MESSAGE = 1_000
"""Maximum bytes of a message. It is sent twice, percent-encoded and in base64, and the whole status
must fit into 8 KiB of HTTP/2 headers; clients drop longer ones."""

_MAX_VIOLATIONS = 2_000
"""Maximum bytes of field violations, for the same reason."""


def to_status(error: MentorgradError) -> Any:
    """Converts an error to a rich gRPC status: code, message, ErrorInfo, BadRequest, RetryInfo."""
    code = next(CODES[cls] for cls in type(error).__mro__ if cls in CODES)
    details = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    ]
    if isinstance(error, errors.InvalidInput) and error.violations:
        details.append(_bad_request(error.violations))
    if isinstance(error, errors.ResourceExhausted):
        delay = duration_pb2.Duration(nanos=int(error.retry_after % 1 * 1e9))
        delay.seconds = int(error.retry_after)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        box = any_pb2.Any()
        box.Pack(detail)
        packed.append(box)
    number = getattr(code_pb2, code.name)
    status = status_pb2.Status(
        code=number, message=_cut(error.message, _MAX_MESSAGE), details=packed
    )
    return rpc_status.to_status(status)


def _bad_request(violations: tuple[Violation, ...]) -> error_details_pb2.BadRequest:
    """The first violations, as many as fit."""
    bad = error_details_pb2.BadRequest()
    for violation in violations:
        one = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(violation.field, 500), description=_cut(violation.description, 1_000)
        )
        if bad.ByteSize() + one.ByteSize() > _MAX_VIOLATIONS:
            break
        bad.field_violations.append(one)
    return bad


def _cut(text: str, size: int) -> str:
    """Truncates a text to at most `size` bytes."""
    data = text.encode(errors="replace")
    return text if len(data) <= size else data[: size - 3].decode(errors="ignore") + "…"


def from_rpc_error(error: grpc.RpcError) -> MentorgradError:
    """Converts a failed call to the domain's error."""
    call: Any = error
    code: grpc.StatusCode = call.code()
    message: str = call.details() or code.name
    cls = _CLASSES.get(code, errors.InternalError)
    reason, metadata, violations, retry_after = None, {}, [], 1.0
    try:
        status = rpc_status.from_call(call)
    except (ValueError, AttributeError, NotImplementedError):
        status = None
    for detail in status.details if status is not None else ():
        if detail.Unpack(info := error_details_pb2.ErrorInfo()):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad := error_details_pb2.BadRequest()):
            violations = [Violation(v.field, v.description) for v in bad.field_violations]
        elif detail.Unpack(retry := error_details_pb2.RetryInfo()):
            retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    if issubclass(cls, errors.InvalidInput):
        return cls(message, violations=violations, reason=reason, metadata=metadata)
    if issubclass(cls, errors.ResourceExhausted):
        return cls(message, retry_after=retry_after, reason=reason, metadata=metadata)
    if cls is errors.Unsupported and reason is None:  # from gRPC itself, or a proxy
        message = "the service there has no such method: it is of another kind or version"
        return cls(message, reason=OTHER_SERVICE)
    if cls is errors.Unavailable and (why := _untrusted(message)):
        return errors.Untrusted(f"the TLS handshake failed: {why}")
    return cls(message, reason=reason, metadata=metadata)


_HANDSHAKES = (
    ("WRONG_VERSION_NUMBER", "the service does not speak TLS"),
    ("certificate has expired", "the service's certificate has expired"),
    ("certificate is not yet valid", "the service's certificate is not valid yet"),
    ("Hostname Verification Check failed", "the service's certificate is for other host names"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the service's certificate is not from a trusted CA",
    ),
)
"""Text in gRPC's message → our message; the first match counts."""


def _untrusted(message: str) -> str:
    """Why the client aborted a TLS handshake; empty: it did not."""
    return next((ours for theirs, ours in _HANDSHAKES if theirs in message), "")
